"""This computer as a device."""
