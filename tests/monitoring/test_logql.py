"""The evaluator of log queries takes and leaves what Loki would."""

from __future__ import annotations

import pytest

from tests.monitoring.logql import Unknown, parse

LINE = '{"msg":"redis timeout","calls":3,"component":"redis","nested":{"a":"b"},"ok":true}'


@pytest.mark.parametrize(
    ("stages", "taken"),
    [
        ("", True),
        ('|= "redis timeout"', True),
        ('|= "redis oom"', False),
        ('!= "redis oom" |= "redis"', True),
        ('!= "redis"', False),
        ("|~ `redis (timeout|oom)`", True),
        ('!~ "time.ut"', False),
        ('| json | component="redis"', True),
        ('| json | component!="redis"', False),
        ('| component="redis"', False),  # nothing was taken apart
        ('| json | msg=~"redis"', False),  # anchored
        ('| json | msg=~"redis .+" | calls > 2', True),
        ("| json | calls >= 4", False),
        ('| json | nested_a="b" | ok="true"', True),
        ('| json | missing=""', True),
        ("| json | missing > 0", False),
    ],
)
def test_a_line_is_taken_as_loki_takes_it(stages: str, taken: bool) -> None:
    assert parse(f'{{app="gateway"}} {stages}').matches(LINE) is taken


def test_a_line_that_is_no_json_has_no_labels() -> None:
    assert not parse('{app="gateway"} | json | msg="x"').matches("Traceback (most recent call last):")
    assert parse('{app="gateway"} | json | __error__="JSONParserErr"').matches("Traceback")


@pytest.mark.parametrize(
    "query",
    [
        '|= "x"',
        '{app=~"g.*"}',
        '{app="g"} | logfmt',
        '{app="g"} | json a="b.c"',
        'count_over_time({app="g"}[1m])',
    ],
)
def test_what_is_not_evaluated_is_refused(query: str) -> None:
    with pytest.raises(Unknown):
        parse(query)
