"""The tunnel of iOS 17.4 and later: its network, and the services that are reached in it."""
