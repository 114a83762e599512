"""How each runtime executes an artifact on a device."""
