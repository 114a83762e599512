"""The shared vocabulary: what a device, a recipe, a measurement and a study are."""
