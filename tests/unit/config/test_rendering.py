"""The effective configuration can be loaded again, and the schema agrees with the loader."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from gateway.config import Settings, load
from gateway.config.rendering import effective, effective_yaml, json_schema, without_password

EVERYTHING = r"""
server: {host: '::1', port: 0, metrics_port: 0, max_body: 1000, keepalive: 1h30m, ack_wait: 0s, request_timeout: 1.5s}
auth: {mode: bearer, tokens_file: /etc/tokens}
policy:
  default: deny
  rules: [{matchers: ['{namespace=~"a|b\\.c", "odd name"!="é\n\"q\""}'], action: allow}]
dedup: {exclude_labels: [], rules: [{matchers: ['job="x"'], by: labels, ignore: [pod]}, {matchers: ['a=b']}]}
classify: {environment_label: env, priority: [{matchers: ['severity="critical"'], priority: P0}]}
storm:
  rules:
    - {matchers: ['alertname="A"'], mode: immediate}
    - {matchers: ['x=y'], threshold: 9, hold: 333us, emit: on_threshold}
redis: {url: 'redis://:pass@h:1/0', timeout: 10.5ms}
kubernetes: {namespaces: [a, b]}
breakers: {redis: {failure_rate: 1}}
"""


@pytest.mark.parametrize("text", ["", EVERYTHING], ids=["defaults", "everything"])
def test_the_effective_configuration_loads_as_the_same_settings(text: str, tmp_path: Path) -> None:
    path = tmp_path / "gateway.yaml"
    path.write_text(text, encoding="utf-8")
    settings = load(path, {})
    path.write_text(effective_yaml(settings), encoding="utf-8")
    assert load(path, {}) == settings
    assert json.loads(json.dumps(effective(settings))) == yaml.safe_load(effective_yaml(settings))


def test_a_password_can_be_hidden() -> None:
    settings = load(None, {}, ["redis.url=redis://user:hunter2@h:1/0"])
    assert "hunter2" in effective_yaml(settings)
    assert "url: redis://user:***@h:1/0\n" in effective_yaml(settings, hide_secrets=True)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://h:6379/0", "redis://h:6379/0"),
        ("redis://:pw@h", "redis://:***@h"),
        ("rediss://u:p@ss@h/0", "rediss://u:***@h/0"),
        ("unix:///run/redis.sock?db=1&password=pw", "unix:///run/redis.sock?db=1&password=***"),
        ("redis+sentinel://u:pw@h1:1,h2:1/m", "redis+sentinel://u:***@h1:1,h2:1/m"),
    ],
)
def test_a_url_is_shown_without_its_password(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_the_schema_knows_every_key_and_refuses_others() -> None:
    schema = json_schema()
    assert schema["$schema"].endswith("2020-12/schema")
    assert set(schema["properties"]) == set(Settings.model_fields)
    assert schema["additionalProperties"] is False
    server = schema["$defs"]["Server"]
    assert set(server["properties"]) == set(effective(Settings())["server"])
    assert "250ms" in server["properties"]["ack_wait"]["examples"]
    json.dumps(schema)
