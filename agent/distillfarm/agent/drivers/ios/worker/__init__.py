"""The process that speaks to one iPhone: the only place where pymobiledevice3 is loaded."""
