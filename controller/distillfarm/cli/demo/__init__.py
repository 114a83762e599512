"""The demonstration: a small real data set and a small real network, for the whole main job."""
