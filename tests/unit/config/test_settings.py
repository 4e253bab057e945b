"""The keys and their defaults are a contract, and settings never change once they are loaded."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from gateway.config import Settings
from gateway.config.rendering import effective
from gateway.config.settings import is_loopback

CONTRACT = """
server:  {host: 127.0.0.1, port: 8080, metrics_port: 9090, max_body: 16MiB, keepalive: 6m, ack_wait: 250ms,
          request_timeout: 10s, shutdown_timeout: 25s, max_inflight_bytes: 256MiB,
          max_requests: 1024, max_connections: 2048, max_connections_per_source: 1024, header_timeout: 10s,
          max_header_size: 32KiB, max_header_count: 64,
          tls: {cert_file: null, key_file: null, client_ca_file: null}}
auth:    {mode: none, tokens_file: null, users_file: null, allow_anonymous: false,
          jwt: {key_file: null, issuer: null, jwks_url: null, jwks_ca_file: null, audience: alert-gateway,
                algorithms: [EdDSA, ES256, RS256], identity_claim: sub, leeway: 30s, max_lifetime: 8784h,
                revocations_file: null},
          tokenreview: {audiences: [], names: [], access: null, cache: 10s}, mtls: {names: []}}
policy:  {default: allow, rules: []}
rate_limit: {requests: 0, window: 60s, by: identity}
dedup:   {terminal_phases: [Completed, Failed, Cancelled, TimedOut, Skipped],
          exclude_labels: [prometheus, prometheus_replica, replica, uid], write_interval: 1s,
          forget_after: 1h, rules: []}
classify: {environment_label: environment, priority: []}
storm:   {threshold: 3, hold: 60s, inactivity: 60s, max_window: 5m, buffer_size: 100, max_alerts: 1000,
          group_by: [namespace, alertname], emit: on_close, rules: []}
redis:   {url: 'redis://localhost:6379/0', username_file: null, password_file: null,
          tls: {ca_file: null, cert_file: null, key_file: null, insecure: false},
          sentinel: {username_file: null, password_file: null}, timeout: 10ms,
          pool_size: 32, shards: 1, prefix: 'gw:', buffer_prefix: ''}
kubernetes: {kubeconfig: null, context: null, namespaces: [], concurrency: 32, fallback_namespace: kubernaut-system,
             events: true}
breakers: {redis: {failure_rate: 0.05, window: 10s, min_calls: 5, open_for: 2s},
           kubernetes: {consecutive_429: 10, failure_rate: 0.5, open_for: 5s}}
queue:   {max_depth: 1000, lease: 15s}
unconfirmed: {max: 50000}
journal: {path: null, max_size: 256MiB}
record:  {path: null, max_size: 1GiB}
chaos:   {enabled: false, admins: [admin]}
log:     {level: info, format: json}
tracing: {endpoint: null, sample: 1.0}
"""


def test_every_key_has_the_default_that_clients_rely_on() -> None:
    assert effective(Settings()) == yaml.safe_load(CONTRACT)


def test_durations_are_seconds_and_sizes_bytes() -> None:
    settings = Settings()
    assert settings.server.ack_wait == 0.25
    assert settings.redis.timeout == 0.01
    assert settings.server.max_body == 16 * 1024 * 1024


@pytest.mark.parametrize(
    ("path", "value"), [("server", None), ("server.port", 1), ("breakers.redis.min_calls", 1)]
)
def test_settings_are_frozen(path: str, value: Any) -> None:
    *parents, name = path.split(".")
    target: Any = Settings()
    for parent in parents:
        target = getattr(target, parent)
    with pytest.raises(ValidationError, match="frozen"):
        setattr(target, name, value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.0.1", "::1", "[::1]", "localhost", "::ffff:127.0.0.1"])
def test_loopback_is_known(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "gateway.local", "", "fe80::1%eth0"])
def test_whatever_else_counts_as_reachable(host: str) -> None:
    assert not is_loopback(host)
