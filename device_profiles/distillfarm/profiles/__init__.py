"""What each device model and chipset is, and what can run on it."""
