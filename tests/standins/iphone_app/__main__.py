"""Notes when it begins, before anything else is loaded, and runs the app."""

import time

BEGAN_NS = time.perf_counter_ns()

from iphone_app import app  # noqa: E402 - loading it is time of the launch

app.main(BEGAN_NS)
