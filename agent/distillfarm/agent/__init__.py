"""The lab agent: discovers devices, runs jobs on them, reports measurements."""
