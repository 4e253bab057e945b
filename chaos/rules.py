"""What the two proxies are told, from the files in `manifests/`: one text for both ways of injecting."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from chaos.injections import Injection

MANIFESTS = Path(__file__).parent / "manifests"


def manifest(injection: Injection) -> Path | None:
    """The manifest that Chaos Mesh performs; None where it cannot."""
    path = MANIFESTS / f"{injection}.yaml"
    return path if path.exists() else None


def fault_rules(injection: Injection) -> list[dict[str, Any]] | None:
    """The rules for the fault proxy before the Kubernetes API; None where it has no part in it."""
    return _read("fault-proxy", injection)


def toxics(injection: Injection) -> list[dict[str, Any]] | None:
    """The toxics for the Toxiproxy before Redis; None where it has no part in it."""
    return _read("toxiproxy", injection)


def _read(kind: str, injection: Injection) -> list[dict[str, Any]] | None:
    path = MANIFESTS / kind / f"{injection}.json"
    if not path.exists():
        return None
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found
