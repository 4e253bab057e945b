"""What a campaign is failed for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.load.judging import judged

CLEAN = {"exit": 0, "clean": True}


def _line(kind: str, status: int, *, number: int = 1, attempt: int = 1) -> dict[str, object]:
    return {"kind": kind, "status": status, "id": f"{kind}-{number}", "attempt": attempt}


GOOD = [_line("new", 201), _line("denied", 403), _line("tampered", 401), _line("storm", 202)]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (
            [_line("tampered", 202, number=2)],
            ["1 webhooks of the kind tampered were answered 202, and not 401"],
        ),
        ([_line("denied", 202, number=2)], ["1 webhooks of the kind denied were answered 202, and not 403"]),
        ([_line("denied", 401, number=2)], ["1 webhooks of the kind denied were answered 401, and not 403"]),
        ([_line("new", 401, number=2)], ["1 webhooks of the kind new were answered 401"]),
        ([_line("new", 503, number=2)], ["1 deliveries were given up"]),
        ([_line("new", 503, number=2), _line("new", 201, number=2, attempt=2)], []),
        ([_line("tampered", 0, number=2), _line("tampered", 401, number=2, attempt=2)], []),
    ],
)
def test_who_is_let_in_or_kept_out_against_the_rules_is_a_finding(
    more: list[dict[str, object]], said: list[str], tmp_path: Path
) -> None:
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in GOOD + more))

    assert judged(tmp_path, CLEAN) == said


def test_an_audit_that_does_not_add_up_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in GOOD))

    assert judged(tmp_path, {"exit": 1, "clean": False, "lost": 2}) == ["gateway audit: exit 1, {'lost': 2}"]
    assert judged(tmp_path, None) == []


def test_a_campaign_that_sent_nothing_has_shown_nothing(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text("")

    assert judged(tmp_path, CLEAN) == ["nothing was sent"]
