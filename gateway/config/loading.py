"""From the layers of a configuration to `Settings`, or to the list of everything that is wrong with them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from gateway.config import checks, faults
from gateway.config.layers import Layers
from gateway.config.settings import Settings
from gateway.errors import ConfigurationError


def load(path: Path | None, environ: Mapping[str, str], sets: Sequence[str] = ()) -> Settings:
    """Read a configuration: the file at `path` (if any) < `GATEWAY__SECTION__KEY` in `environ` < `sets`.

    `sets` are texts like `storm.hold=30s`, later ones over earlier ones. A value from the environment or from
    a flag is YAML, except where the key takes text. Raises ConfigurationError with every fault at once: those
    of the file's form, of single keys, and between keys as far as the keys concerned are sound themselves.
    """
    layers = Layers()
    if path is not None:
        layers.add_file(path)
    layers.add_environment(environ)
    layers.add_flags(sets)
    found = list(layers.faults)
    settings, faulty = _validate(layers, found)
    for place, fault in checks.faults(settings, faulty):
        origin = layers.origin(tuple(re.split(r"[.\[]", place)))
        found.append(f"{place} ({origin}): {fault}" if origin else f"{place}: {fault}")
    if found:
        raise ConfigurationError(found)
    return settings


def _validate(layers: Layers, found: list[str]) -> tuple[Settings, set[str]]:
    """Add a line to `found` for each faulty key; return the settings without those, and their paths."""
    try:
        return Settings.model_validate(layers.tree), set()
    except ValidationError as error:
        errors = error.errors(include_url=False)
    faulty: set[str] = set()
    sound = layers.tree
    for details in errors:
        location = details["loc"]
        found.append(faults.describe(details, layers.origin(tuple(str(part) for part in location))))
        keys = tuple(str(part) for part in location[:2])
        sound = _without(sound, keys)
        faulty.add(".".join(keys))
        if len(keys) == 1:
            faulty |= {f"{keys[0]}.{name}" for name in _names(keys[0])}
    try:
        return Settings.model_validate(sound), faulty
    except ValidationError:  # Cannot be taken apart by section and key; the faults found so far have to do.
        return Settings(), set(checks.all_paths())


def _names(section: str) -> list[str]:
    field = Settings.model_fields.get(section)
    return list(getattr(field.annotation, "model_fields", ())) if field else []


def _without(tree: dict[str, Any], keys: tuple[str, ...]) -> dict[str, Any]:
    if not keys:
        return {}
    section = tree.get(keys[0])
    if len(keys) == 1 or not isinstance(section, dict):
        return {name: value for name, value in tree.items() if name != keys[0]}
    return {**tree, keys[0]: {name: value for name, value in section.items() if str(name) != keys[1]}}
