"""`python -m chaos.load.proof FOLDER`: the report again, from what a campaign left."""

from __future__ import annotations

import sys

from chaos.load.proof.command import main

if __name__ == "__main__":
    sys.exit(main())
