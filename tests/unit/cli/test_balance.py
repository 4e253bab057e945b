"""The audit's arithmetic: no loss or surplus goes unseen, and a gateway that keeps its promises is never blamed."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.balance import Finding, Report, Span, delivered, judge
from gateway.cli.holdings import Request, problem_key
from gateway.cli.sentlog import Attempt

A = "a" * 64
B = "b" * 64
LABELS = {A: {"alertname": "Down", "pod": "a"}, B: {"alertname": "Down", "pod": "b"}}

_deliveries = itertools.count()


def attempts(*answers: str | None, fingerprint: str = A, resolved: bool = False) -> list[Attempt]:
    """One delivery of one alert: an outcome word is a 202 with it, a number a status, None no answer, and "nobody"
    no connection."""
    delivery = f"d{next(_deliveries)}"
    made = []
    for number, answer in enumerate(answers, start=1):
        status = None if answer in (None, "nobody") else int(answer) if answer.isdecimal() else 202
        made.append(
            Attempt(
                time=f"2026-01-01T00:00:{number:02}.000000Z",
                answered=f"2026-01-01T00:00:{number:02}.500000Z",
                delivery=delivery,
                attempt=number,
                labels=LABELS[fingerprint],
                resolved=resolved,
                status=status,
                outcome=answer if status == 202 else None,
                fingerprint=fingerprint if status == 202 else None,
                connected=answer != "nobody",
            )
        )
    return made


def request(
    count: int, *, fingerprint: str = A, active: bool = True, generation: int = 1, fault: str | None = None
) -> Request:
    return Request(
        name=f"prod/rr-{fingerprint[:3]}-{generation}",
        open=active,
        count=count,
        occurrences={fingerprint: count},
        problems={fingerprint: problem_key(LABELS[fingerprint], {})},
        generation=generation,
        fault=fault,
    )


def found(report: Report) -> list[tuple[str, int, list[Finding]]]:
    return [(row.fingerprint[:1], row.difference, list(row.findings)) for row in report.rows]


@pytest.mark.parametrize(
    ("answers", "span"),
    [
        (("created",), Span(1, 1)),
        (("duplicate",), Span(1, 1)),
        (("buffered",), Span(1, 1)),
        (("queued",), Span(1, 1)),
        (("resolved",), Span(0, 0)),
        (("denied",), Span(0, 0)),
        (("403",), Span(0, 0)),
        (("422",), Span(0, 0)),
        ((None,), Span(0, 1)),
        (("502",), Span(0, 1)),
        (("503",), Span(0, 1)),
        (("200",), Span(0, 1)),  # an answer without outcomes
        (("503", "duplicate"), Span(1, 1)),
        (("503", "503", "503", "duplicate"), Span(1, 1)),
        (("503", "503"), Span(0, 1)),
        ((None, "duplicate"), Span(1, 2)),
        ((None, None, None), Span(0, 3)),
        ((None, "503", "created"), Span(1, 2)),
        (("503", None, "created"), Span(1, 2)),
        (("503", None), Span(0, 1)),
        (("503", None, "503"), Span(0, 2)),
        (("503", "denied"), Span(0, 1)),
        (("nobody",), Span(0, 0)),
        (("nobody", "created"), Span(1, 1)),
        (("503", "nobody", "created"), Span(1, 1)),
        ((None, "nobody", "nobody"), Span(0, 1)),
    ],
)
def test_a_delivery_is_counted_as_often_as_its_answers_say(answers: Sequence[str | None], span: Span) -> None:
    assert delivered(attempts(*answers)) == span


def a_storm(members: dict[str, int]) -> Request:
    return Request(
        name="prod/rr-storm",
        open=True,
        count=sum(members.values()),
        occurrences=members,
        problems=dict.fromkeys(members, ((), "")),
        storm=True,
    )


def test_as_many_counted_as_accepted_is_clean() -> None:
    report = judge([*attempts("created"), *attempts("duplicate")], [request(2)])
    assert report.clean
    assert found(report) == [("a", 0, [])]


def test_a_missing_occurrence_is_a_loss() -> None:
    report = judge([*attempts("created"), *attempts("duplicate"), *attempts("duplicate")], [request(2)])
    assert found(report) == [("a", -1, [Finding.LOSS])]
    assert report.total(Finding.LOSS) == 1
    assert not report.clean


def test_an_occurrence_too_many_is_a_surplus() -> None:
    report = judge(attempts("created"), [request(3)])
    assert found(report) == [("a", 2, [Finding.SURPLUS])]
    assert report.total(Finding.SURPLUS) == 2


def test_a_request_that_is_not_there_at_all_is_a_loss() -> None:
    assert found(judge(attempts("created"), [])) == [("a", -1, [Finding.LOSS])]


def test_generations_are_summed_up() -> None:
    sent = [*attempts("created"), *attempts("duplicate"), *attempts("created")]
    assert judge(sent, [request(2, active=False), request(1, generation=2)]).clean


def test_a_missing_generation_is_named_beside_the_loss() -> None:
    sent = [*attempts("created"), *attempts("duplicate")]
    (row,) = judge(sent, [request(1, generation=2)]).rows
    assert "generation 1" in row.detail


def test_two_open_requests_of_one_fingerprint_are_a_finding() -> None:
    sent = [*attempts("created"), *attempts("created")]
    report = judge(sent, [request(1), request(1, generation=2)])
    assert found(report) == [("a", 0, [Finding.OPEN_TWICE])]
    assert report.total(Finding.OPEN_TWICE) == 1


def test_a_member_of_a_storm_counts_and_is_open_with_it() -> None:
    storm = a_storm({A: 2, B: 3})
    sent = [*attempts("buffered"), *attempts("buffered"), *attempts("created", fingerprint=B)]
    report = judge(sent, [storm, request(1, fingerprint=B)])
    assert found(report) == [("a", 0, []), ("b", 3, [Finding.SURPLUS, Finding.OPEN_TWICE])]


def test_what_a_request_of_its_own_and_a_storm_count_adds_up() -> None:
    sent = [*attempts("created"), *attempts("buffered"), *attempts("buffered")]
    assert judge(sent, [request(1, active=False), a_storm({A: 2, B: 1})]).clean


def test_a_member_that_gave_up_its_count_is_not_open_twice() -> None:
    own, sent = request(2), [*attempts("buffered"), *attempts("buffered")]
    assert judge(sent, [own, a_storm({A: 0, B: 1})]).clean
    assert found(judge(sent, [own, request(0, generation=2)])) == [("a", 0, [Finding.OPEN_TWICE])]


def test_what_is_missing_may_still_be_in_a_window_as_far_as_one_held_it() -> None:
    sent = [*attempts("created"), *attempts("buffered"), *attempts("buffered")]
    report = judge(sent, [request(1)])
    assert found(report) == [("a", -2, [Finding.LOSS])]
    assert report.in_windows == 2
    assert "2 may still be held in a window" in report.rows[0].detail
    assert judge(sent, []).in_windows == 2
    assert judge(sent, [request(2)]).in_windows == 1
    assert judge(sent, [request(3)]).in_windows == judge(attempts("created"), []).in_windows == 0


@pytest.mark.parametrize(("counted", "clean"), [(1, True), (2, True), (0, False), (3, False)])
def test_a_send_without_an_answer_is_attributed_by_its_labels(counted: int, clean: bool) -> None:
    assert judge([*attempts("created"), *attempts(None)], [request(counted)]).clean is clean


def test_an_alert_that_was_never_answered_is_found_by_the_labels_of_its_request() -> None:
    report = judge(attempts(None), [request(1)])
    assert report.clean
    assert found(report) == [("a", 0, [])]
    assert found(judge(attempts(None), [request(2)])) == [("a", 1, [Finding.SURPLUS])]


def test_an_alert_that_nothing_tells_of_is_listed_and_no_finding() -> None:
    report = judge(attempts(None), [])
    assert report.clean
    assert [(row.fingerprint, row.accepted) for row in report.rows] == [("", Span(0, 1))]


def test_requests_of_others_are_left_out_unless_nobody_else_sends() -> None:
    requests = [request(1), request(4, fingerprint=B)]
    assert judge(attempts("created"), requests).clean
    assert found(judge(attempts("created"), requests, exclusive=True)) == [
        ("a", 0, []),
        ("b", 4, [Finding.SURPLUS]),
    ]


def test_an_attempt_that_two_logs_hold_counts_once() -> None:
    sent = attempts("created")
    assert judge([*sent, *sent], [request(1)]).clean


def test_what_a_window_held_when_it_resolved_may_have_no_request() -> None:
    sent = [*attempts("buffered"), *attempts("resolved", resolved=True)]
    assert judge(sent, []).clean
    assert judge(sent, [request(1)]).clean
    assert found(judge(attempts("buffered"), [])) == [("a", -1, [Finding.LOSS])]


def test_a_resolved_alert_excuses_nothing_that_was_not_held() -> None:
    sent = [*attempts("created"), *attempts("resolved", resolved=True)]
    assert found(judge(sent, [])) == [("a", -1, [Finding.LOSS])]


def test_a_request_that_contradicts_itself_is_a_fault() -> None:
    report = judge(attempts("created"), [request(1, fault="its marks say 2")])
    assert report.faults == (("prod/rr-aaa-1", "its marks say 2"),)
    assert not report.clean


class PromisingGateway:
    """Counts one alert as a gateway may that keeps every promise; `choose` decides what is left open."""

    def __init__(self) -> None:
        self.noted = False
        self.counted = 0

    def take(self) -> None:
        if self.noted:
            self.noted = False
        else:
            self.counted += 1

    def answer(self, answer: str | None, chance: bool) -> None:
        if answer == "503":
            if self.noted or chance:
                self.take()
                self.noted = True
        elif answer is None:
            if chance:
                self.take()
        elif not answer.isdecimal():
            self.take()


_answers = st.lists(st.sampled_from(["duplicate", "503", None, "422"]), min_size=1, max_size=6)


@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from(["duplicate", "503", None, "422"]), st.booleans()), min_size=1)
    )
)
def test_a_gateway_that_keeps_its_promises_is_never_blamed(
    deliveries: list[list[tuple[str | None, bool]]],
) -> None:
    sent, counted = [], 0
    for delivery in deliveries:
        gateway = PromisingGateway()
        for answer, chance in delivery:
            gateway.answer(answer, chance)
        counted += gateway.counted
        sent += attempts(*(answer for answer, _ in delivery))
    stored = [request(counted)] if counted else []
    assert judge(sent, stored).clean


@given(_answers)
def test_the_bounds_are_as_tight_as_the_promises_allow(answers: list[str | None]) -> None:
    possible = set()
    for chances in itertools.product((False, True), repeat=len(answers)):
        gateway = PromisingGateway()
        for answer, chance in zip(answers, chances, strict=True):
            gateway.answer(answer, chance)
        possible.add(gateway.counted)
    assert delivered(attempts(*answers)) == Span(min(possible), max(possible))


@given(
    st.lists(st.tuples(st.sampled_from([A, B]), _answers), min_size=1, max_size=8),
    st.randoms(use_true_random=False),
)
def test_the_order_of_the_log_does_not_matter(
    deliveries: list[tuple[str, list[str | None]]], random: Random
) -> None:
    sent = [
        entry for fingerprint, answers in deliveries for entry in attempts(*answers, fingerprint=fingerprint)
    ]
    stored = [request(3), request(2, fingerprint=B)]
    shuffled = list(sent)
    random.shuffle(shuffled)
    assert judge(shuffled, stored) == judge(sent, stored)
