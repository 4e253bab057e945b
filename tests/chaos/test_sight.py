"""What rehearsals see of gateways: increases over restarts, the first time that something held, and gaps."""

from __future__ import annotations

import math

from chaos.exposition import Page, Reader, Series, value
from chaos.sight import BREAKER, Look, Sight, Target, closed, opened

COUNTER = Series("errors_total", (("kind", "timeout"),))
TEXT = """\
# HELP errors_total Errors.
# TYPE errors_total counter
errors_total{kind="timeout"} 3.0
errors_total{kind="a \\"quoted\\" one"} 1.0
gauge 2.5
"""


def sight(*looks: tuple[float, int, Page | None]) -> Sight:
    made = Sight([Target("g0", "", ""), Target("g1", "", "")])
    made.looks = [Look(at, number, page, alive=True, ready=True) for at, number, page in looks]
    return made


def counted(number: float) -> Page:
    return {COUNTER: number}


def breaker(state: float) -> Page:
    return {Series(BREAKER, (("component", "redis"),)): state}


def test_a_page_is_read_with_its_labels() -> None:
    page = Reader().read(TEXT)

    assert page[COUNTER] == 3
    assert value(page, "errors_total") == 4
    assert value(page, "errors_total", {"kind": 'a \\"quoted\\" one'}) == 1
    assert value(page, "gauge") == 2.5
    assert value(page, "nothing") == 0


def test_an_increase_goes_on_over_a_restart_and_over_all_gateways() -> None:
    seen = sight(
        (0, 0, counted(5)), (1, 0, counted(7)), (2, 0, counted(1)), (0, 1, counted(0)), (3, 1, counted(4))
    )

    assert seen.increases("errors_total", kind="timeout") == [3, 4]
    assert seen.increase("errors_total", since=1.5) == 5
    assert seen.by_label("errors_total", "kind") == {"timeout": 7}


def test_a_rise_is_that_of_the_slowest_gateway_and_none_where_one_stays() -> None:
    both = sight((0, 0, counted(1)), (0, 1, counted(1)), (2, 0, counted(2)), (5, 1, counted(2)))

    assert both.rise("errors_total", since=1) == 4
    assert (
        sight(*[(look.at, look.gateway, look.page) for look in both.looks[:3]]).rise("errors_total", since=1)
        is None
    )


def test_first_is_each_one_at_some_time_and_together_all_of_them_at_once() -> None:
    seen = sight((1, 0, breaker(1)), (2, 0, breaker(0)), (3, 1, breaker(1)), (4, 1, breaker(0)))

    assert seen.first(opened("redis"), since=0) == 3
    assert seen.together(opened("redis"), since=0) is None
    assert seen.together(closed("redis"), since=0) == 4


def test_a_look_without_metrics_is_a_gap_and_spoils_nothing_else() -> None:
    seen = sight((0, 0, counted(1)), (1, 0, None), (2, 0, counted(2)))

    assert [look.at for look in seen.gaps()] == [1]
    assert seen.increase("errors_total") == 1
    assert math.isnan(seen.latest("errors_total")[1])
    assert list(seen.lines(lambda page: value(page, "errors_total"))) == [(0, 1), (2, 2)]


def test_buckets_hold_what_is_their_own() -> None:
    def page(one: int, two: int) -> Page:
        return {
            Series("wait_bucket", (("le", "1.0"),)): one,
            Series("wait_bucket", (("le", "2.0"),)): one + two,
            Series("wait_bucket", (("le", "+Inf"),)): one + two,
        }

    assert sight((0, 0, page(0, 0)), (1, 0, page(2, 1))).buckets("wait") == {1.0: 2, 2.0: 1}
    assert sight((0, 0, page(0, 0)), (1, 0, page(0, 1))).buckets("wait") == {2.0: 1}
