"""Makes the helper modules of this folder importable, and their fixtures available."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from toy_sets import toy as toy
