"""`docs/configuration.md` has every key, says what each means, and is that of the settings as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gateway.config.documenting import markdown
from gateway.config.rendering import effective
from gateway.config.settings import Section, Settings

DOCUMENT = Path(__file__).parents[3] / "docs" / "configuration.md"
ROW = re.compile(r"^\| `(\w+)`[^|]* \| ([^|]*) \| ([^|]*) \| (.*) \|$", re.MULTILINE)


def rows() -> dict[str, tuple[str, str, str]]:
    """Path → type, default and meaning."""
    found = {}
    for part in re.split(r"^##+ ", markdown(), flags=re.MULTILINE)[1:]:
        section = part.partition("\n")[0]
        for name, *cells in ROW.findall(part):
            assert f"{section}.{name}" not in found
            found[f"{section}.{name}"] = tuple(cells)
    return found


def keys(values: dict[str, Any], above: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from keys(value, f"{above}{name}.")
        else:
            yield f"{above}{name}"


def test_the_document_is_current() -> None:
    """If not: `gateway config docs > docs/configuration.md`."""
    assert DOCUMENT.read_text(encoding="utf-8") == markdown()


def test_every_key_is_in_it_with_its_meaning() -> None:
    described = rows()
    assert set(keys(effective(Settings()))) <= described.keys()
    assert [path for path, cells in described.items() if not all(cells)] == []


def test_rules_and_sections_that_are_not_set_are_in_it_too() -> None:
    described = rows()
    every = [one for one in _sections(Section) if one is not Settings]
    assert len(described) == sum(
        not _is_section(field.annotation) for one in every for field in one.model_fields.values()
    )


def test_types_and_defaults_are_shown_as_people_write_them() -> None:
    described = rows()
    assert described["server.ack_wait"][:2] == ("duration", "`250ms`")
    assert described["server.max_body"][:2] == ("size", "`16MiB`")
    assert described["server.port"][:2] == ("whole number, 0 to 65535", "`8080`")
    assert described["chaos.enabled"][:2] == ("`true`, `false`", "`false`")
    assert described["storm.emit"][:2] == ("`on_close`, `on_threshold`", "`on_close`")
    assert described["policy.rules[].action"][:2] == ("`allow`, `deny`", "needed")
    assert described["dedup.rules[].matchers"][0] == "matchers"


def test_what_can_be_replaced_while_it_runs_is_marked() -> None:
    marked = re.findall(r"^\| `(\w+)` ↻", markdown(), re.MULTILINE)
    assert marked == ["default", "rules", "matchers", "action", "reason", "priority", "matchers", "priority"]


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, Section)


def _sections(section: type[Section]) -> Iterator[type[Section]]:
    for one in section.__subclasses__():
        yield one
        yield from _sections(one)
