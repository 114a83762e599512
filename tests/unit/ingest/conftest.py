"""What the tests of reading models share."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
