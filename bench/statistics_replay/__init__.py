"""Populations of launches, recorded and made up, on which statistics have to keep their word."""
