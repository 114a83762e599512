"""The controller's memory."""
