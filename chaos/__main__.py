"""`python -m chaos`: rehearses failures, and tells what came of it."""

from __future__ import annotations

import sys

from chaos.cli import main

if __name__ == "__main__":
    sys.exit(main())
