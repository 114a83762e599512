"""Searches on devices of which every candidate's latency is recorded."""
