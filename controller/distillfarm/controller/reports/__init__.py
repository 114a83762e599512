"""Turns a study's evidence into a page that people read."""
