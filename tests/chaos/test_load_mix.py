"""What is sent: its shares, that it is the same again for the same seed, and what is noted of it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chaos.load import filling
from chaos.load.entries import Attempt, Writer, merge
from chaos.load.mix import DEDUPLICATION, MIXED, STORM_ALERTS, Kind, Mix, Turn
from chaos.load.plan import Plan, spoiled
from chaos.load.retrying import pause
from gateway.cli.sentlog import read
from gateway.intake import recent


def _turns(
    *, seed: int = 7, rate: float = 20.0, seconds: float = 300.0, shares: dict[Kind, int] | None = None
) -> list[Turn]:
    mix = Mix(shares or dict(MIXED), seed, began=1e9, tag="t", namespace="load", denied="kube-system")
    return list(mix.turns(number / rate for number in range(int(rate * seconds))))


def _of(turns: Sequence[Turn], kind: Kind) -> list[Turn]:
    return [turn for turn in turns if turn.kind is kind]


def test_the_shares_are_those_that_were_asked_for() -> None:
    turns = _turns()
    counted = Counter(turn.kind for turn in turns)

    # In the first seconds nothing is known yet that could be repeated or resolved.
    assert {kind: round(100 * n / len(turns)) for kind, n in counted.items()} == dict(MIXED)


def test_the_same_seed_sends_the_same_and_another_seed_does_not() -> None:
    assert _turns(seed=7) == _turns(seed=7)
    assert [turn.kind for turn in _turns(seed=7)] != [turn.kind for turn in _turns(seed=8)]


def test_every_new_alert_is_about_a_problem_that_nobody_has_heard_of() -> None:
    turns = _turns()
    new = [
        problem for kind in (Kind.NEW, Kind.STORM) for turn in _of(turns, kind) for problem in turn.problems
    ]

    assert len({problem.pod for problem in new}) == len(new)
    assert {len(turn.problems) for turn in _of(turns, Kind.STORM)} == {STORM_ALERTS}


def test_what_is_repeated_is_known_unresolved_and_not_older_than_forty_seconds() -> None:
    sent: dict[str, float] = {}
    resolved: set[str] = set()
    for turn in _turns():
        pod = turn.problems[0].pod
        if turn.kind is Kind.NEW:
            sent[pod] = turn.due
        elif turn.kind is Kind.DUPLICATE:
            assert 0 < turn.due - sent[pod] <= 40
            assert pod not in resolved
        elif turn.kind is Kind.RESOLVED:
            assert turn.due - sent[pod] >= 5
            assert pod not in resolved
            resolved.add(pod)


def test_denied_ones_come_from_the_denied_namespace_and_nothing_else_does() -> None:
    for turn in _turns():
        expected = "kube-system" if turn.kind is Kind.DENIED else "load"
        assert {problem.namespace for problem in turn.problems} == {expected}


def test_the_deduplication_campaign_repeats_nineteen_of_twenty() -> None:
    turns = _turns(shares=dict(DEDUPLICATION))

    assert len(_of(turns, Kind.DUPLICATE)) == pytest.approx(0.95 * len(turns), rel=0.01)


def test_shares_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="multiples of 5"):
        _turns(shares={Kind.NEW: 99, Kind.DUPLICATE: 1})


@pytest.mark.parametrize("token", ["abcdefghij", "head.body.signature-of-it"])
def test_a_spoiled_credential_differs_in_one_character_of_its_last_part(token: str) -> None:
    for number in range(50):
        found = spoiled(token, number)
        changed = [at for at, (one, other) in enumerate(zip(token, found, strict=True)) if one != other]
        assert len(changed) == 1
        assert token.rfind(".") < changed[0] < len(token) - 1


PLAN = Plan(
    campaign="spike",
    scale=0.5,
    duration=None,
    seed=1,
    tag="t",
    folder="folder",
    workers=2,
    urls=("http://one", "http://two"),
    tokens=("a", "b"),
    namespace="load",
    denied="kube-system",
    repeated_for=40.0,
    retried_for=300.0,
)


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    PLAN.write(tmp_path / "plan.json")

    assert Plan.read(tmp_path / "plan.json") == PLAN


def test_without_a_credential_nothing_is_tampered_with_and_as_many_more_are_new() -> None:
    plan = replace(PLAN, tokens=())
    kinds = Counter(turn.kind for turn in plan.mix(1e9).turns(plan.shape.due()))

    assert (PLAN.shares, plan.shares[Kind.NEW]) == (MIXED, MIXED[Kind.NEW] + MIXED[Kind.TAMPERED])
    assert sum(plan.shares.values()) == 100
    assert Kind.TAMPERED not in plan.shares.keys() | kinds.keys()
    assert replace(plan, campaign="dedup").shares == DEDUPLICATION


@given(st.integers(1, 50), st.floats(0.5, 1.5), st.floats(-100, 300))
def test_no_pause_goes_on_past_the_time_at_which_a_delivery_is_given_up(
    number: int, part: float, left: float
) -> None:
    found = pause(number, part, left)

    usual = min(60.0, 0.5 * 1.5 ** (number - 1))
    assert found == (None if usual * part > left else usual * part)


def test_a_soak_fills_as_many_places_as_a_gateway_has_for_labels() -> None:
    """Two dictionaries of `MOST` take turns; one place fewer, and what is left to fill grows like a leak."""
    assert filling.PLACES == 2 * recent.MOST


def _attempt(turn: Turn, number: int, status: int, **more: object) -> Attempt:
    facts = {"delivery": f"d{turn.number}", "at": 100.0 + turn.number + number, "lag": 0.001, "seconds": 0.25}
    found = {"verdicts": (), "error": "", "connected": True, **facts, **more}
    return Attempt(turn=turn, number=number, status=status, **found)  # type: ignore[arg-type]


def test_each_attempt_is_a_line_and_each_alert_of_it_one_that_the_audit_reads(tmp_path: Path) -> None:
    turns = _turns(seconds=2)
    new, storm = _of(turns, Kind.NEW)[0], _of(turns, Kind.STORM)[0]
    request = {"namespace": "load", "name": "rr-1"}
    verdict = {"outcome": "created", "fingerprint": "f" * 64, "request": request}
    with Writer(tmp_path, 0) as one, Writer(tmp_path, 1) as other:
        other.write(_attempt(storm, 1, 202, verdicts=[{"outcome": "buffered"}] * STORM_ALERTS))
        one.write(_attempt(new, 1, 503))
        one.write(_attempt(new, 2, 0, error="reset"))
        one.write(_attempt(new, 3, 201, verdicts=[verdict]))
    merge(tmp_path)

    lines = [json.loads(line) for line in (tmp_path / "requests.jsonl").read_text().splitlines()]
    assert [line["at"] for line in lines] == sorted(line["at"] for line in lines)
    mine = [line for line in lines if line["id"] == f"d{new.number}"]
    assert [(line["attempt"], line["status"], line["outcome"]) for line in mine] == [
        (1, 503, ""),
        (2, 0, ""),
        (3, 201, "created"),
    ]
    assert {line["ms"] for line in lines} == {250.0}
    sent = list(read(tmp_path / "sent.jsonl"))
    assert len(sent) == 3 + STORM_ALERTS
    taken = next(line for line in sent if line.outcome == "created")
    assert (taken.attempt, taken.labels, taken.request) == (3, new.problems[0].labels, "load/rr-1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["requests.jsonl", "sent.jsonl"]
