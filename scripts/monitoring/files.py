"""Which files are generated, and what stands in them."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from scripts.monitoring import metrics_page, objectives
from scripts.monitoring.chaos import CHAOS
from scripts.monitoring.gateway import GATEWAY

ROOT: Final = Path(__file__).parents[2]


def generated() -> dict[Path, str]:
    """Path → text of every generated file."""
    monitoring = ROOT / "deploy" / "monitoring"
    return {
        monitoring / "dashboards" / "gateway.json": GATEWAY.render(),
        monitoring / "dashboards" / "chaos.json": CHAOS.render(),
        monitoring / "rules" / "gateway-slo.yaml": objectives.render(),
        ROOT / "docs" / "metrics.md": metrics_page.render(),
    }
