"""The configuration as text: the effective one as YAML, and the JSON Schema that an editor checks a file
against.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

from gateway.config.settings import Settings

_PASSWORD = re.compile(r"((?<=://)[^/?@:]*:)[^/?]*(?=@)|(?<=[?&])(password=)[^&]*")


def effective(settings: Settings, *, hide_secrets: bool = False) -> dict[str, Any]:
    """Return every key with its value as plain data, in the order in which they are documented.

    Durations and sizes are text again. `hide_secrets` replaces a password in a URL; what is hidden does not
    round-trip.
    """
    data = settings.model_dump(mode="json")
    if hide_secrets:
        data["redis"]["url"] = without_password(data["redis"]["url"])
    return data


def effective_yaml(settings: Settings, *, hide_secrets: bool = False) -> str:
    """Return `effective` as a configuration file; loading it gives settings equal to `settings`."""
    text: str = yaml.safe_dump(
        effective(settings, hide_secrets=hide_secrets), sort_keys=False, allow_unicode=True, width=110
    )
    return text


def json_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of a configuration file."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Alert gateway configuration",
    } | {key: value for key, value in Settings.model_json_schema().items() if key != "title"}


def without_password(url: str) -> str:
    """Return a URL that can be shown: `redis://user:***@host`."""
    return _PASSWORD.sub(lambda found: f"{found[1] or found[2]}***", url)
