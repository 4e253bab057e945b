"""docs/logs.md has every message of the gateway, with its levels and fields, and no other."""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.monitoring.files import ROOT, log_queries
from tests.monitoring.log_events import events

EVERYWHERE = {"msg", "level", "ts", "request_id", "logger"}


class Row(NamedTuple):
    levels: set[str]
    fields: set[str]
    meaning: str


def rows() -> dict[str, Row]:
    found: dict[str, Row] = {}
    for line in (ROOT / "docs" / "logs.md").read_text().splitlines():
        if line.startswith("| `"):
            message, levels, fields, meaning = (cell.strip() for cell in line.strip("|").split("|"))
            assert message not in found, message
            found[message.strip("`")] = Row(
                set(levels.split(", ")), set(re.findall(r"`([^`]+)`", fields)), meaning
            )
    return found


def test_every_message_is_documented_with_its_levels_and_fields() -> None:
    written, told = events(), rows()
    assert sorted(written.keys() - told.keys()) == []
    assert sorted(told.keys() - written.keys()) == []
    for message, event in written.items():
        assert told[message].levels == event.levels, message
        assert told[message].fields >= event.fields, message
        assert told[message].meaning, message


def test_log_queries_ask_for_messages_and_fields_that_exist() -> None:
    told = rows()
    fields = EVERYWHERE.union(*(row.fields for row in told.values()))
    for query in log_queries():
        for message in re.findall(r'msg="([^"]*)"', query):
            assert message in told, query
        for name in re.findall(r"\|\s*(\w+)\s*[=!<>]", query):
            assert name in fields, query
