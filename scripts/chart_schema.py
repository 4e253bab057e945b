"""Puts the JSON Schema of the gateway's configuration into that of the chart's values, so that Helm checks both.

    python scripts/chart_schema.py        (make chart)

The rest of `values.schema.json` is written by hand and stays as it is. Descriptions and defaults are left to
`gateway config schema`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from gateway.config.rendering import json_schema

FILE = Path(__file__).parents[1] / "deploy" / "helm" / "gateway" / "values.schema.json"
WORDS = frozenset({"$schema", "default", "description", "examples", "title"})
"""What tells people about a schema, and checks nothing."""
NAMED = ("properties", "$defs")
"""Where the keys are names of the configuration's, and no words of JSON Schema."""


def bare(schema: Any) -> Any:
    """The schema without what checks nothing."""
    if isinstance(schema, list):
        return [bare(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: {name: bare(one) for name, one in value.items()} if key in NAMED else bare(value)
        for key, value in schema.items()
        if key not in WORDS
    }


def composed(values: dict[str, Any]) -> str:
    """The chart's schema with today's configuration in it, as its file has it."""
    config = bare(json_schema())
    whole = {**values, "$defs": config.pop("$defs")}
    whole["properties"] = {**values["properties"], "config": config}
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(composed(json.loads(FILE.read_text())))
