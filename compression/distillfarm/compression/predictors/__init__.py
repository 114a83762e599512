"""One module for each runtime that can run a model on the host; each loads its framework."""
