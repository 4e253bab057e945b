"""Every key of the configuration as a document for people, made from the settings and their docstrings.

`docs/configuration.md` is this text (`gateway config docs > docs/configuration.md`), and a test says when it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml
from pydantic.fields import FieldInfo

from gateway.config.quantities import DURATION_PATTERN, SIZE_HINT
from gateway.config.reload import RELOADABLE
from gateway.config.settings import Section, Settings

PREFACE: Final = f"""\
# Configuration

One YAML file (`--config`), environment variables (`GATEWAY__SERVER__PORT=9000` for `server.port`) and
`--set server.port=9000`, in rising order. Unknown keys and bad values stop the start, all reported at once. `gateway
config check` looks for them beforehand, `gateway config show` prints what is in force, `gateway config schema` the JSON
Schema for an editor.

This page is made from the settings: `gateway config docs > docs/configuration.md`.

A **duration** is a number with its unit, like 250ms, 60s, 5m, 1h30m or 90d; one without a unit is refused. A **size**
is {SIZE_HINT.removeprefix("a size ")}. **Matchers** are a list of Alertmanager's, like
`['severity="critical"', 'namespace=~"prod-.*"']`, all of which must match. A **file** is a path on the gateway's
machine. Where the default is –, the key is not set. Keys marked ↻ take effect while the gateway runs, within 5 s of a
change of the file, or at SIGHUP; all others need a restart.
"""
HEAD: Final = "| key | type | default | meaning |\n| --- | --- | --- | --- |"

_Schema = Mapping[str, Any]


def markdown() -> str:
    """The document."""
    whole = Settings.model_json_schema()
    return PREFACE + "".join(_sections(Settings, Settings().model_dump(mode="json"), whole, ""))


def _sections(section: type[Section], defaults: Any, whole: _Schema, above: str) -> Iterator[str]:
    """The keys of a section that are values, then the sections in it, each under its path."""
    schema = whole if section is Settings else whole["$defs"][section.__name__]
    below: list[tuple[str, type[Section], Any]] = []
    rows: list[str] = []
    for name, field in section.model_fields.items():
        path = f"{above}{name}"
        inner = _inner(field)
        if inner is not None and _single(field):
            below.append((path, inner, defaults[name]))
            continue
        shown = _default(field, defaults[name] if defaults is not None else field.default)
        kind = _kind(schema["properties"][name], path)
        rows.append(f"| `{name}`{_mark(path)} | {kind} | {shown} | {_line(field.description or '')} |")
        if inner is not None:
            below.append((_entry(path, field), inner, None))
    if above:
        level = "##" if "." not in above.rstrip(".") and "[" not in above else "###"
        yield f"\n{level} {above.removesuffix('.')}\n\n{_line(section.__doc__ or '')}\n"
    if rows:
        yield "\n".join(["", HEAD, *rows, ""])
    for path, inner, values in below:
        yield from _sections(inner, values, whole, f"{path}.")


def _inner(field: FieldInfo) -> type[Section] | None:
    """The section that a field is, or that its entries are; None for plain values."""
    candidate: Any
    for candidate in (field.annotation, *getattr(field.annotation, "__args__", ())):
        if isinstance(candidate, type) and issubclass(candidate, Section):
            found: type[Section] = candidate
            return found
    return None


def _single(field: FieldInfo) -> bool:
    """Whether it is a section that is always there."""
    return isinstance(field.annotation, type)


def _entry(path: str, field: FieldInfo) -> str:
    """The path of what is in a field: of the entries of a list, or of a section that need not be there."""
    return f"{path}[]" if getattr(field.annotation, "__origin__", None) is tuple else path


def _kind(schema: _Schema, path: str) -> str:
    """What a value may be, for people."""
    if path.endswith(".matchers"):
        return "matchers"
    choices = [one for one in schema.get("anyOf", ()) if one.get("type") != "null"]
    if schema.get("type") == "array":
        entries = schema.get("items", {})
        return "list of rules, below" if "$ref" in entries else f"list of {_kind(entries, path)}"
    if "pattern" in schema and schema["pattern"] == DURATION_PATTERN:
        return "duration"
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if len(choices) == 1:
        return _kind(choices[0], path)
    if choices:
        # A size is text or a number, a mode one or a list of them: the first says it all.
        return "size" if "examples" in schema else _kind(choices[0], path)
    if "$ref" in schema:
        return "a section, below"
    return _plain(schema, path)


def _plain(schema: _Schema, path: str) -> str:
    match schema.get("type"):
        case "boolean":
            return "`true`, `false`"
        case "integer":
            least, most = schema.get("minimum"), schema.get("maximum")
            return f"whole number, {least} to {most}" if most is not None else f"whole number from {least}"
        case "number":
            return f"number above {schema['exclusiveMinimum']}, up to {schema['maximum']}"
    return "file" if re.search(r"(_file|journal\.path|record\.path|kubeconfig)$", path) else "text"


def _default(field: FieldInfo, value: Any) -> str:
    if field.is_required():
        return "needed"
    if value is None or value in ((), ""):
        return "–"
    text = (
        yaml.safe_dump(_plainly(value), default_flow_style=True, width=1000).removesuffix("\n...\n").strip()
    )
    return f"`{text}`" if value != [] else "–"


def _plainly(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _mark(path: str) -> str:
    plain = path.replace("[]", "")
    return " ↻" if any(plain == one or plain.startswith(f"{one}.") for one in RELOADABLE) else ""


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
