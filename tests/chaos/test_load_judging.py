"""What a campaign is failed for."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from chaos.load.judging import judged, summary
from chaos.load.playing import BUSY
from chaos.load.proof.spread import Spread
from chaos.load.sampling import quiet

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


def _timed(count: int) -> list[dict[str, object]]:
    return [
        {**_line("new", 201, number=number), "ms": float(number), "lag_ms": 0.5} for number in range(count)
    ]


def test_a_summary_has_the_quantiles_of_the_report_and_none_of_too_few(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in _timed(150)))
    spread = Spread.of(float(number) for number in range(150))
    told = ", ".join(f"p{share * 100:g} {spread.quantile(share):.1f}" for share in (0.5, 0.95, 0.99))

    assert f"new            150 ms {told}, max 149.0" in summary(tmp_path)
    (tmp_path / "requests.jsonl").write_text("".join(json.dumps(line) + "\n" for line in _timed(30)))
    assert "new             30 ms p50 14.0, p95 28.0, p99 –, max 29.0" in summary(tmp_path)


def test_a_summary_of_nothing_is_one(tmp_path: Path) -> None:
    (tmp_path / "requests.jsonl").write_text("")

    assert summary(tmp_path) == ["0 attempts: ", "lag              0 ms p50 –, p95 –, p99 –, max –"]


ALL_DONE = dict.fromkeys(BUSY, 0.0)


@pytest.mark.parametrize(
    ("gateways", "settled"),
    [
        ([ALL_DONE, ALL_DONE], True),
        ([ALL_DONE, {**ALL_DONE, BUSY[0]: 1.0}], False),
        ([ALL_DONE, {}], False),
        ([dict.fromkeys(BUSY[1:], 0.0)], False),
    ],
)
def test_a_gateway_whose_metrics_cannot_be_read_is_not_taken_for_one_that_is_done(
    gateways: list[dict[str, float]], *, settled: bool
) -> None:
    assert quiet({"gateways": [{"metrics": one} for one in gateways]}, BUSY) == settled
