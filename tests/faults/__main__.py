"""`python -m tests.faults`: see `exploring`."""

from __future__ import annotations

import sys

from tests.faults.exploring import main

if __name__ == "__main__":
    sys.exit(main())
