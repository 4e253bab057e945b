"""Layers lie over each other in rising order, and everything that is wrong with them is told at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config import Settings, load
from gateway.config.settings import AuthMode
from gateway.errors import ConfigurationError


@pytest.fixture
def file(tmp_path: Path) -> Any:
    def write(text: str) -> Path:
        path = tmp_path / "gateway.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def faults(path: Path | None = None, environ: dict[str, str] | None = None, *sets: str) -> list[str]:
    with pytest.raises(ConfigurationError) as caught:
        load(path, environ or {}, sets)
    return caught.value.faults


def test_without_layers_the_defaults_hold() -> None:
    assert load(None, {"HOME": "/x", "GATEWAY_PORT": "tcp://1"}) == Settings() == Settings.load(None, {})


def test_flags_win_over_the_environment_and_that_over_the_file(file: Any) -> None:
    path = file("storm: {hold: 1s, threshold: 7, inactivity: 1s}\nqueue:\n")
    environ = {"GATEWAY__STORM__HOLD": "2s", "GATEWAY__STORM__INACTIVITY": "2s"}
    settings = load(path, environ, ["storm.hold=3s", "storm.hold=4s"])
    assert (settings.storm.hold, settings.storm.inactivity, settings.storm.threshold) == (4.0, 2.0, 7)


def test_the_environment_reaches_every_depth_and_type() -> None:
    environ = {
        "GATEWAY__BREAKERS__REDIS__MIN_CALLS": "9",
        "GATEWAY__KUBERNETES__NAMESPACES": "[a, b]",
        "GATEWAY__REDIS__PREFIX": "123",
        "GATEWAY__REDIS__BUFFER_PREFIX": "",
        "gateway__auth__allow_anonymous": "true",
        "GATEWAY__AUTH__TOKENS_FILE": "null",
        "GATEWAY__STORM__RULES": """[{matchers: ['a="b"'], mode: immediate}]""",
        "GATEWAY__QUEUE": "{max_depth: 5, lease: 20s}",
    }
    settings = load(None, environ)
    assert settings.breakers.redis.min_calls == 9
    assert settings.kubernetes.namespaces == ("a", "b")
    assert (settings.redis.prefix, settings.redis.buffer_prefix) == ("123", "")
    assert settings.auth.allow_anonymous is True
    assert settings.auth.tokens_file is None
    assert settings.storm.rules[0].mode == "immediate"
    assert (settings.queue.max_depth, settings.queue.lease) == (5, 20.0)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server: {port: eighty}", "server.port: 'eighty' does not fit; expected a whole number"),
        ("server: {port: 70000}", "server.port: 70000 is out of range; expected at most 65535"),
        ("server: {port: true}", "server.port: true does not fit; expected a whole number"),
        ("server: {port: null}", "server.port: null does not fit; expected a whole number"),
        ("server: {max_body: big}", "server.max_body: 'big' is not a size like 64KiB, 16MiB or 1GiB"),
        ("server: {max_body: 0}", "server.max_body: 0 must be at least one byte"),
        ("server: {host: ''}", "server.host: '' is empty; expected some text"),
        ("storm: {hold: 60}", "storm.hold: 60 is not a duration like 250ms, 60s, 5m or 1h30m"),
        ("storm: {hold: 0s}", "storm.hold: '0s' must be more than 0"),
        ("storm: {treshold: 3}", "storm.treshold: unknown key; did you mean storm.threshold?"),
        ("strom: {threshold: 3}", "strom: unknown key; did you mean storm?"),
        ("hold: 3s", "hold: unknown key here; did you mean storm.hold?"),
        ("server: {threshold: 3}", "server.threshold: unknown key here; did you mean storm.threshold?"),
        ("server: {zzz: 3}", "server.zzz: unknown key; expected one of host, port"),
        ("breakers: {redis: {min-calls: 3}}", "did you mean breakers.redis.min_calls?"),
        ("8080: 3", "8080: unknown key; expected one of server"),
        ("server: 5", "server: 5 does not fit; expected a mapping of keys"),
        ("storm: {emit: later}", "storm.emit: 'later' is not allowed; expected on_close or on_threshold"),
        ("auth: {mode: basik}", "auth.mode: 'basik' is no mode; expected one or a list of none, bearer"),
        ("auth: {mode: [none, bearer]}", "auth.mode: ['none', 'bearer'] would let everybody in"),
        ("auth: {mode: []}", "auth.mode: [] is no mode"),
        ("auth: {mode: null}", "auth.mode: null is no mode"),
        ("auth: {allow_anonymous: 1}", "auth.allow_anonymous: 1 does not fit; expected true or false"),
        ("redis: {prefix: 5}", "redis.prefix: 5 does not fit; expected text"),
        ("kubernetes: {namespaces: prod}", "kubernetes.namespaces: 'prod' does not fit; expected a list"),
        ("kubernetes: {fallback_namespace: A}", "'A' is not the name of a namespace"),
        ("breakers: {redis: {failure_rate: 5}}", "breakers.redis.failure_rate: 5 is out of range"),
        ("breakers: {redis: {failure_rate: .nan}}", "breakers.redis.failure_rate: nan"),
        ("policy: {rules: [{action: deny}]}", "policy.rules[0].matchers: is missing"),
        (
            "policy: {rules: [{matchers: ['a=b']}]}",
            "policy.rules[0].action: is missing; expected allow or deny",
        ),
        (
            "policy: {rules: [{matchers: [], action: deny}]}",
            "policy.rules[0].matchers: [] is empty, so the rule",
        ),
        (
            """policy: {rules: [{matchers: ['a=~"("'], action: deny}]}""",
            "policy.rules[0].matchers: ['a=~\"(\"'] holds a bad matcher: '(' is no RE2 expression",
        ),
        (
            "policy: {rules: [{matchers: [5], action: deny}]}",
            "policy.rules[0].matchers: [5] holds a bad matcher",
        ),
        (
            "policy: {rules: [{matchers: ['a=b'], action: deny, reason: No Way}]}",
            "policy.rules[0].reason: 'No Way' is not a reason",
        ),
        (
            "policy: {rules: [{matchers: ['a=b'], action: deny, reson: x}]}",
            "did you mean policy.rules[0].reason?",
        ),
        ("classify: {priority: [{matchers: ['a=b'], priority: P9}]}", "expected P0, P1, P2 or P3"),
        (
            "dedup: {rules: [{matchers: ['a=b'], ignore: [alertname]}]}",
            "dedup.rules[0].ignore: holds alertname, which always counts",
        ),
        ("dedup: {terminal_phases: []}", "dedup.terminal_phases: is empty"),
        ("storm: {hold: 10m}", "storm.max_window: is shorter than storm.hold"),
        ("storm: {threshold: 1001}", "storm.threshold: is more than storm.max_alerts"),
        ("storm: {max_alerts: 2001}", "storm.max_alerts: 2001 is out of range; expected at most 2000"),
        ("storm: {max_alerts: 2}", "so it is never reached; expected at most 2"),
        (
            """storm: {rules: [{matchers: ['a=b']}, {matchers: ['a=b'], hold: 301s}]}""",
            "storm.rules[1].hold: is longer than storm.max_window; expected at most 5m",
        ),
        (
            """storm: {hold: 90s, rules: [{matchers: ['a=b'], max_window: 1m}]}""",
            "storm.rules[0].max_window: is shorter than the hold of 90s; expected at least as long",
        ),
        (
            """storm: {rules: [{matchers: ['a=b'], hold: 10s, max_window: 9s}]}""",
            "storm.rules[0].max_window: is shorter than the hold of 10s",
        ),
        (
            """storm: {rules: [{matchers: ['a=b'], threshold: 1001}]}""",
            "storm.rules[0].threshold: is more than storm.max_alerts",
        ),
        (
            """storm: {rules: [{matchers: ['a=b'], mode: immediate, hold: 1h}]}""",
            "storm.rules[0].hold: does nothing where mode is immediate; leave it out",
        ),
        (
            """storm: {rules: [{matchers: ['a=b'], emit: sometimes}]}""",
            "storm.rules[0].emit: 'sometimes' is not allowed; expected on_close or on_threshold",
        ),
        ("server: {port: 9090}", "server.metrics_port: is server.port, too"),
        ("auth: {mode: bearer}", "auth.tokens_file: mode bearer needs it"),
        ("storm: {hold: 1s}\nstorm: {hold: 2s}", "line 2 gives 'storm' again"),
        ("- a", "holds list; expected a mapping of sections"),
        ("a: [", "is not YAML"),
        ("a: !!python/object:os.system x", "is not YAML"),
    ],
)
def test_a_fault_names_its_path_and_what_would_be_right(file: Any, text: str, expected: str) -> None:
    found = faults(file(text))
    assert len(found) == 1
    assert expected in found[0]


def test_all_faults_of_all_layers_are_told_at_once(file: Any) -> None:
    path = file(
        """
server: {prot: 80, port: eighty, host: 0.0.0.0}
storm: {hold: soon, rules: [{mode: often}, 5]}
tracing: {endpoint: /j}
nonsense: 1
"""
    )
    environ = {"GATEWAY__QUEUE__LEASE": "x", "GATEWAY__REDIS": "["}
    found = faults(path, environ, "unconfirmed.max=-3", "foo", "a..b=1")
    for place in (
        "server.prot: ",
        "server.port: ",
        "storm.hold: ",
        "storm.rules[0].mode: ",
        "storm.rules[0].matchers: ",
        "storm.rules[1]: ",
        "tracing.endpoint: ",
        "nonsense: ",
        "queue.lease (GATEWAY__QUEUE__LEASE): ",
        "redis (GATEWAY__REDIS): ",
        "unconfirmed.max (--set unconfirmed.max): ",
        "--set foo: ",
        "--set a..b: ",
        "auth.mode: everybody who reaches 0.0.0.0",
    ):
        assert any(fault.startswith(place) for fault in found), (place, found)
    assert len(found) == 14


def test_what_follows_from_a_faulty_key_is_not_told_again(file: Any) -> None:
    # The mode is faulty, so nobody can say whether the address may be listened on.
    assert len(faults(file("server: {host: 0.0.0.0}\nauth: {mode: beerer}"))) == 1
    assert len(faults(file("server: {host: 0.0.0.0}\nauth: 7"))) == 1
    assert len(faults(file("storm: {hold: 1h, max_window: soon}"))) == 1
    # What a rule takes from the section is the section's fault, told there and once.
    assert len(faults(file("storm: {hold: 1h, rules: [{matchers: ['a=b']}, {matchers: ['c=d']}]}"))) == 1
    assert len(faults(file("storm: {threshold: 0, rules: [{matchers: ['a=b'], threshold: 3}]}"))) == 1


def test_every_fault_of_every_rule_is_told_with_where_the_rules_are_from() -> None:
    rules = (
        "[{matchers: ['a=b'], hold: 1h, threshold: 2000}, "
        "{matchers: ['c=d'], mode: immediate, hold: 1s, emit: on_close}]"
    )
    found = faults(None, {"GATEWAY__STORM__RULES": rules})
    assert [fault.partition(": ")[0] for fault in found] == [
        f"storm.rules[{place} (GATEWAY__STORM__RULES)"
        for place in ("0].hold", "0].threshold", "1].emit", "1].hold")
    ]


@pytest.mark.parametrize(
    "storm",
    [
        "threshold: 1",
        "threshold: 1000",
        "buffer_size: 2000",
        "max_alerts: 3",
        "max_alerts: 2000",
        "inactivity: 1h",
        "hold: 5m",
        "rules: [{matchers: ['a=b'], threshold: 1000}]",
        "rules: [{matchers: ['a=b'], hold: 10m, max_window: 10m}]",
        "rules: [{matchers: ['a=b'], hold: null, mode: immediate}]",
        "hold: 6m, max_window: 6m, rules: [{matchers: ['a=b'], hold: 1s, max_window: 1s}]",
    ],
)
def test_what_is_merely_unusual_is_taken(file: Any, storm: str) -> None:
    load(file(f"storm: {{{storm}}}"), {})


def test_a_password_is_never_part_of_a_message(file: Any) -> None:
    assert "hunter2" not in "".join(faults(file("redis: {url: 'http://:hunter2@redis'}")))


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in faults(tmp_path / "none.yaml")[0]


def test_a_file_that_is_not_utf8_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_bytes(b"\xff\xfe\x00")
    assert "it is not UTF-8" in faults(path)[0]


def test_an_override_replaces_what_the_file_says_of_the_key(file: Any) -> None:
    assert load(file("storm: {hold: soon}"), {}, ["storm.hold=5s"]).storm.hold == 5.0
    assert load(file("storm: &s {threshold: 4}"), {}, ["storm={threshold: 5}"]).storm.threshold == 5


def test_an_empty_file_and_empty_sections_leave_the_defaults(file: Any) -> None:
    assert load(file(""), {}) == load(file("storm:\nredis: {}\n"), {}) == Settings()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "gateway.example"])
def test_listening_beyond_loopback_needs_authentication_or_a_word(host: str, tmp_path: Path) -> None:
    listening = f"server.host={host}"
    assert "set auth.mode to bearer" in faults(None, {}, listening)[0]
    allowed = load(None, {}, [listening, "auth.allow_anonymous=true"])
    assert allowed.anonymous_beyond_loopback
    authenticated = load(None, {}, [listening, "auth.mode=bearer", f"auth.tokens_file={tmp_path}/tokens"])
    assert not authenticated.anonymous_beyond_loopback
    assert authenticated.auth.mode == (AuthMode.BEARER,)
    assert not load(None, {}).anonymous_beyond_loopback


@given(
    st.dictionaries(st.text(max_size=8), st.text(max_size=20), max_size=3),
    st.lists(st.text(max_size=30), max_size=3),
)
def test_any_environment_and_flags_give_settings_or_faults(environ: dict[str, str], sets: list[str]) -> None:
    variables = {f"GATEWAY__{name}": value for name, value in environ.items()}
    told: list[str] | None = None
    try:
        load(None, variables, [*sets, *(f"storm.{text}" for text in sets)])
    except ConfigurationError as error:
        told = error.faults
    assert told is None or told
