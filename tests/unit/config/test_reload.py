"""What of a configuration can be replaced while the gateway runs, and how the rest is told."""

from __future__ import annotations

from operator import attrgetter
from pathlib import Path

import pytest

from gateway.config import load
from gateway.config.reload import RELOADABLE, Source, adopted, differing
from gateway.errors import ConfigurationError

RULES = """policy.rules=[{matchers: ['a="b"'], action: deny}]"""
PRIORITY = """classify.priority=[{matchers: ['a="b"'], priority: P0}]"""


def test_settings_differ_by_their_paths_in_the_order_of_the_documents() -> None:
    one = load(None, {}, ["storm.hold=5s", "server.tls.cert_file=a", "server.tls.key_file=b"])
    assert list(differing(one, load(None, {}, [RULES, "redis.pool_size=3"]))) == [
        "server.tls.cert_file",
        "server.tls.key_file",
        "policy.rules",
        "storm.hold",
        "redis.pool_size",
    ]
    assert list(differing(one, load(None, {}, ["storm.hold=5000ms", *one_tls()]))) == []


def one_tls() -> list[str]:
    return ["server.tls.cert_file=a", "server.tls.key_file=b"]


def test_only_what_can_be_replaced_is_adopted() -> None:
    running = load(None, {}, ["storm.hold=5s"])
    found = load(None, {}, [RULES, "policy.default=deny", PRIORITY, "classify.environment_label=env"])
    now = adopted(running, found)
    assert [path for path in RELOADABLE if attrgetter(path)(now) != attrgetter(path)(found)] == []
    assert list(differing(running, now)) == ["policy.default", "policy.rules", "classify.priority"]
    assert list(differing(now, found)) == ["classify.environment_label", "storm.hold"]


def test_a_source_reads_all_its_layers_each_time(tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    source = Source(path, {"GATEWAY__LOG__LEVEL": "debug"}, ("storm.threshold=5",))
    path.write_text("policy: {default: deny}\nstorm: {threshold: 9}\n")
    settings = source.load()
    assert (settings.policy.default, settings.log.level, settings.storm.threshold) == ("deny", "debug", 5)
    path.write_text("policy: {default: maybe}\n")
    with pytest.raises(ConfigurationError, match=r"policy\.default"):
        source.load()
