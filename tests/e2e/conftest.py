"""What these start keeps this computer busy: no agent waits until it is quiet."""

import os

os.environ.setdefault("DISTILLFARM_AGENT_GATE_PATIENCE_S", "0")
