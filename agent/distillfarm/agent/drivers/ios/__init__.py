"""iPhones over usbmuxd."""
