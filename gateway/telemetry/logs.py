"""One line a fact, as JSON for machines or as text for people, with the id of the request that it belongs to.

Text that came from outside is neutral in a log: JSON lines are plain ASCII, so neither a line break nor a
terminal escape nor a bidirectional override gets through, and in text lines whatever is not printable is
shown escaped. What looks like a secret is hidden (`redaction`), long values are cut. The log goes to standard
error, because standard output belongs to the answers of commands.

The libraries' own loggers are led into the same stream from WARNING on.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any, Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from gateway.telemetry.redaction import HIDDEN, is_secret, redacted

LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
LONGEST_VALUE: Final = 4096
LONGEST_EXCEPTION: Final = 32 * 1024
"""Characters of a traceback; its end says what happened."""
DEEPEST: Final = 6
"""Levels of lists and mappings in a value; what is further down is shown as one text."""

request_id: Final[ContextVar[str]] = ContextVar("request_id", default="")
"""The id of the HTTP request that is being handled; tasks that it starts inherit it."""


def configure(level: str = "info", form: str = "json", stream: TextIO | None = None) -> None:
    """Set up logging for the process: `level` is one of `LEVELS`, `form` is `json` or `text`.

    A call below the level costs some two microseconds; what runs for every alert does not log.
    """
    threshold = LEVELS[level]
    target = stream if stream is not None else sys.stderr
    shared: list[Processor] = [
        _with_request_id,
        structlog.processors.format_exc_info,
        _neutral,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
    ]
    render = _renderers(form, target)
    structlog.configure(
        processors=[*shared, *render],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=structlog.WriteLoggerFactory(file=target),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(target)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render],
        )
    )
    logging.basicConfig(handlers=[handler], level=max(threshold, logging.WARNING), force=True)
    logging.captureWarnings(capture=True)


def _renderers(form: str, stream: TextIO) -> Sequence[Processor]:
    if form == "json":
        return [structlog.processors.EventRenamer("msg"), _as_json]
    return [_printable, structlog.dev.ConsoleRenderer(colors=stream.isatty(), timestamp_key="ts")]


def _with_request_id(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    current = request_id.get()
    if current:
        event.setdefault("request_id", current)
    return event


def _neutral(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if key == "exception":
            event[key] = redacted(str(value)[-LONGEST_EXCEPTION:])
        elif not key.startswith("_"):  # those are structlog's own, on their way to its formatter
            event[key] = HIDDEN if is_secret(key) else _shown(value)
    return event


def _shown(value: Any, depth: int = 0) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth < DEEPEST:
        if isinstance(value, dict):
            return {
                str(key): HIDDEN if is_secret(str(key)) else _shown(item, depth + 1)
                for key, item in value.items()
            }
        if isinstance(value, list | tuple | set | frozenset):
            return [_shown(item, depth + 1) for item in value]
    text = str(value)
    if len(text) > LONGEST_VALUE:
        # Cut first: a secret that is cut in two is still known by its beginning.
        return f"{redacted(text[:LONGEST_VALUE])}… ({len(text)} characters)"
    return redacted(text)


_encode: Final = json.JSONEncoder(default=str, ensure_ascii=True).encode


def _as_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    # ensure_ascii escapes line breaks, control characters, overrides and lone surrogates alike.
    return _encode(event)


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    for key, value in event.items():
        if key == "exception":
            # The lines of a traceback are wanted; what stands in them is not trusted.
            event[key] = "\n".join(_escaped(line) for line in str(value).split("\n"))
        elif not isinstance(value, (int, float, type(None))):
            event[key] = _escaped(str(value))
    return event


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)
