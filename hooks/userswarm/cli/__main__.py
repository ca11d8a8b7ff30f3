"""``python -m userswarm.cli``."""

from __future__ import annotations

import sys

from userswarm.cli import main

sys.exit(main())
