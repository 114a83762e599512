"""How each kind of device is found and driven."""
