"""The benchmark programs of the runtimes' makers: how each is called, and what it says."""
