"""The search on one chipset: what to build, what to measure and how often; pure."""
