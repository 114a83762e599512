"""What crosses the network: messages, conversion, status codes, transport."""

import os

# gRPC's core writes notes such as "Got goaway" to stderr when the other side restarts, which is no
# news here and would tear progress bars apart. It reads the variable when it is first loaded.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
