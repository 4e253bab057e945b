"""`python -m tests.simulation`: see `exploring`."""

from __future__ import annotations

import sys

from tests.simulation.exploring import main

if __name__ == "__main__":
    sys.exit(main())
