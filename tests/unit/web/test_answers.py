"""The head of an answer: what every one has, and what some have instead."""

from __future__ import annotations

from collections import Counter

from gateway.web.answers import DEFAULTS, Answer


def head(answer: Answer) -> list[str]:
    return answer.head.split("\r\n")[:-1]


def test_every_answer_has_the_defaults_once() -> None:
    lines = head(Answer(200, b"x", {"Content-Type": "text/plain"}))
    assert lines == [
        "200 OK",
        "Content-Type: text/plain",
        "Content-Length: 1",
        *(f"{name}: {value}" for name, value in DEFAULTS.items()),
    ]


def test_what_an_answer_says_of_itself_stands_in_the_place_of_the_default() -> None:
    own = {"Content-Security-Policy": "default-src 'self'", "Cache-Control": "max-age=60"}
    lines = head(Answer(200, b"", own))
    names = Counter(line.partition(":")[0] for line in lines)
    assert max(names.values()) == 1
    assert "Content-Security-Policy: default-src 'self'" in lines
    assert "Cache-Control: max-age=60" in lines
    assert names.keys() >= DEFAULTS.keys()
