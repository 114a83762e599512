"""Two of these run at a time, so that this computer is never quiet: no agent waits until it is."""

import os

os.environ.setdefault("DISTILLFARM_AGENT_GATE_PATIENCE_S", "0")
