from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_a_line_is_one_json_object_with_time_level_message_and_request_id() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    token = logs.request_id.set("abc-1")
    structlog.get_logger().info("written", name="rr-1", count=3)
    logs.request_id.reset(token)
    line = json.loads(out.getvalue())
    assert line.pop("ts").endswith("Z")
    assert line == {"level": "info", "msg": "written", "request_id": "abc-1", "name": "rr-1", "count": 3}


def test_what_is_below_the_level_is_not_written() -> None:
    out = io.StringIO()
    logs.configure("warning", "json", out)
    structlog.get_logger().info("no")
    structlog.get_logger().debug("no")
    structlog.get_logger().warning("yes")
    assert [json.loads(line)["msg"] for line in out.getvalue().splitlines()] == ["yes"]


@pytest.mark.parametrize("form", ["json", "text"])
@given(text=st.text(st.characters(), max_size=40))
def test_no_text_of_a_sender_can_forge_a_line_or_steer_a_terminal(form: str, text: str) -> None:
    out = io.StringIO()
    logs.configure("info", form, out)
    structlog.get_logger().info("got", label=text)
    written = out.getvalue()
    assert written.endswith("\n")
    line = written[:-1]
    assert line.isprintable()
    assert line.encode("utf-8")
    if form == "json":
        assert json.loads(line)["label"] == text


def test_long_values_are_cut() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    structlog.get_logger().info("got", body="x" * 100_000)
    assert len(out.getvalue()) < 5000


@pytest.mark.parametrize("form", ["json", "text"])
def test_secrets_are_hidden_wherever_they_stand(form: str) -> None:
    out = io.StringIO()
    logs.configure("info", form, out)
    log = structlog.get_logger()
    token = logs.request_id.set(f"eyJ{'hunter2' * 4}")
    log.info(
        "got password=hunter2",
        error=ValueError("token: hunter2"),
        labels={"password": "hunter2", "team": "a", "more": ["secret=hunter2", {"apiKey": "hunter2"}]},
        faults=("redis.url: redis://u:hunter2@h",),
        authorization="hunter2",
    )
    try:
        raise ValueError("password='hunter2'")
    except ValueError as error:
        log.exception("failed", exc_info=error)
    logging.getLogger("aiohttp.server").error("Authorization: Bearer %s", "hunter2")
    logs.request_id.reset(token)
    written = out.getvalue()
    assert "hunter2" not in written
    for shown in ("password=***", "token: ***", "team", "failed", "Bearer ***"):
        assert shown in written


@pytest.mark.parametrize("form", ["json", "text"])
@given(texts=st.lists(st.text(st.characters(), max_size=10), max_size=3))
def test_lists_and_mappings_forge_no_line_either(form: str, texts: list[str]) -> None:
    out = io.StringIO()
    logs.configure("info", form, out)
    structlog.get_logger().info("got", several=texts, named={text: text for text in texts}, other=Odd(texts))
    assert out.getvalue()[:-1].isprintable()


class Odd:
    """Something that is shown as text."""

    def __init__(self, texts: list[str]) -> None:
        self._texts = texts

    def __str__(self) -> str:
        return "\n".join(self._texts)


def test_a_value_that_holds_itself_is_shown_as_far_as_it_goes() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    value: list[object] = ["password=hunter2"]
    value.append(value)
    structlog.get_logger().info("got", value=value)
    assert "hunter2" not in out.getvalue()
    assert len(out.getvalue()) < 5000


def test_of_a_long_traceback_the_end_is_kept() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    try:
        raise ValueError("x" * 100_000 + "what happened")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    assert "what happened" in out.getvalue()
    assert len(out.getvalue()) < 40_000


def test_a_failure_is_logged_with_its_traceback_in_one_line() -> None:
    out = io.StringIO()
    logs.configure("info", "json", out)
    try:
        raise ValueError("broken\nfaked line")
    except ValueError as error:
        structlog.get_logger().error("failed", exc_info=error)
    [line] = out.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


@pytest.mark.parametrize("form", ["json", "text"])
def test_warnings_of_libraries_come_in_the_same_form(form: str) -> None:
    out = io.StringIO()
    logs.configure("info", form, out)
    logging.getLogger("aiohttp.server").warning("odd %s", "request\nx")
    logging.getLogger("aiohttp.server").info("not wanted")
    [line] = out.getvalue().splitlines()
    assert "odd request" in line
    if form == "json":
        assert json.loads(line)["logger"] == "aiohttp.server"
