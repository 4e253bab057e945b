"""The texts of the scripts, and their forms for older and newer servers."""

from __future__ import annotations

import hashlib
import re

import pytest

from gateway.state.scripting import ALLOW_OOM, Scripts

SCRIPTS = Scripts()


@pytest.mark.parametrize("name", Scripts.FILES)
def test_every_script_says_what_it_takes_and_answers(name: str) -> None:
    text = SCRIPTS.get(name, 6).text

    assert "-- KEYS" in text
    assert "-- Reply" in text


@pytest.mark.parametrize("version", [0, 6, 7, 8])
def test_only_what_is_new_is_refused_by_a_server_without_memory_that_knows_flags(version: int) -> None:
    flagged = {name for name in Scripts.FILES if SCRIPTS.get(name, version).text.startswith(ALLOW_OOM)}

    assert flagged == (set(Scripts.FILES) - {"admit", "note"} if version >= 7 else set())


def test_settled_records_live_as_long_as_somebody_says() -> None:
    line = re.compile(r"^local SETTLED_LIFE = (\d+) ", re.MULTILINE)
    for name in Scripts.FILES:
        assert line.findall(SCRIPTS.get(name, 7).text) == ["3600000"]
        assert line.findall(Scripts(90.0).get(name, 7).text) == ["90000"]


@pytest.mark.parametrize("version", [6, 7])
def test_a_script_is_called_by_the_digest_of_the_text_that_is_sent(version: int) -> None:
    for name in Scripts.FILES:
        script = SCRIPTS.get(name, version)
        assert script.sha == hashlib.sha1(script.text.encode()).hexdigest()
