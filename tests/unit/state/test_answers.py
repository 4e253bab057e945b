"""Errors say whether the call may have been performed."""

from __future__ import annotations

import inspect

import pytest
from redis import exceptions as redis_errors

from gateway.errors import StoreError, StoreRefused, StoreUnsure
from gateway.state.answers import KINDS, translate

OLD_SCRIPT = "Error running script (call to f_1): @user_script:142: @user_script: 142: "


@pytest.mark.parametrize(
    ("error", "kind", "refused"),
    [
        (redis_errors.OutOfMemoryError("command not allowed"), "oom", True),
        (redis_errors.ResponseError("OOM command not allowed when used memory > 'maxmemory'."), "oom", True),
        (redis_errors.ResponseError(OLD_SCRIPT + "-OOM command not allowed when used memory"), "oom", True),
        (redis_errors.ReadOnlyError("You can't write against a read only replica."), "readonly", True),
        (
            redis_errors.ResponseError("-READONLY You can't write against a read only replica."),
            "readonly",
            True,
        ),
        (redis_errors.ResponseError(OLD_SCRIPT + "-READONLY You can't write against"), "readonly", True),
        (redis_errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "misconf", True),
        (redis_errors.ResponseError("NOREPLICAS Not enough good replicas to write."), "noreplicas", True),
        (redis_errors.ResponseError("BUSY Redis is busy running a script."), "busy", True),
        (redis_errors.BusyLoadingError("Redis is loading the dataset in memory"), "loading", True),
        (redis_errors.MasterDownError("Link with MASTER is down"), "masterdown", True),
        (redis_errors.ClusterDownError("The cluster is down"), "clusterdown", True),
        (redis_errors.TryAgainError("Multiple keys request during rehashing of slot"), "tryagain", True),
        (redis_errors.MovedError("1 127.0.0.1:7000"), "moved", True),
        (redis_errors.NoScriptError("No matching script"), "noscript", True),
        (redis_errors.AuthenticationError("Authentication required."), "auth", True),
        (redis_errors.NoPermissionError("this user has no permissions to run 'evalsha'"), "auth", True),
        (redis_errors.NoPermissionError("no permissions. script: 12ab, on @user_script:3."), "auth", False),
        (redis_errors.TimeoutError("late"), "timeout", False),
        (TimeoutError("late"), "timeout", False),
        (redis_errors.ConnectionError("cut"), "connection", False),
        (ConnectionResetError("cut"), "connection", False),
        (redis_errors.ResponseError("WRONGTYPE Operation against a key"), "response", False),
        (
            redis_errors.ResponseError("Script attempted to access a non local key in a cluster node"),
            "response",
            False,
        ),
    ],
)
def test_errors_say_whether_the_call_may_have_been_performed(
    error: Exception, kind: str, refused: bool
) -> None:
    translated = translate(error)

    assert translated.kind == kind
    assert isinstance(translated, StoreRefused if refused else StoreUnsure)


@pytest.mark.parametrize(
    "error", [TimeoutError("late"), ConnectionResetError("cut"), redis_errors.ResponseError("ERR what")]
)
def test_what_was_never_sent_was_certainly_not_performed(error: Exception) -> None:
    assert isinstance(translate(error, sent=False), StoreRefused)


def test_every_error_of_the_library_is_translated_to_a_known_kind() -> None:
    for _, family in inspect.getmembers(redis_errors, inspect.isclass):
        if issubclass(family, redis_errors.RedisError) and family not in (
            redis_errors.AskError,
            redis_errors.MovedError,
        ):
            translated = translate(family("x"))
            assert isinstance(translated, StoreError)
            assert translated.kind in KINDS
