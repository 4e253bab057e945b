"""What `auth` and `server.tls` need of each other is told at the start, each with what would be right."""

from __future__ import annotations

import pytest

from gateway.config import load
from gateway.errors import ConfigurationError

TLS = "server.tls={cert_file: a, key_file: b, client_ca_file: c}"


@pytest.mark.parametrize(
    ("sets", "path", "told"),
    [
        (["auth.mode=bearer"], "auth.tokens_file", "name:token"),
        (["auth.mode=basic"], "auth.users_file", "htpasswd"),
        (["auth.mode=jwt", "auth.jwt.revocations_file=r"], "auth.jwt.key_file", "auth.jwt.jwks_url"),
        (
            ["auth.mode=jwt", "auth.jwt={issuer: i, jwks_url: 'https://i/k'}"],
            "auth.jwt.revocations_file",
            "outlives a restart",
        ),
        (["auth.jwt={jwks_url: 'https://i/k'}"], "auth.jwt.issuer", "together"),
        (["auth.jwt={issuer: i}"], "auth.jwt.jwks_url", "together"),
        (["auth.jwt={issuer: i, jwks_url: 'http://i/k'}"], "auth.jwt.jwks_url", "https"),
        (["auth.jwt={issuer: alert-gateway, jwks_url: 'https://i/k'}"], "auth.jwt.issuer", "another"),
        (["auth.jwt.algorithms=[none]"], "auth.jwt.algorithms", "HS256"),
        (["auth.mode=jwt", "auth.jwt={key_file: k, algorithms: []}"], "auth.jwt.algorithms", "at least one"),
        (["auth.mode=mtls", "auth.mtls.names=['cn:a']"], "server.tls", "client_ca_file"),
        (["auth.mode=mtls", TLS], "auth.mtls.names", "at least one"),
        (["auth.mtls.names=[alertmanager]"], "auth.mtls.names", "dns:"),
        (["server.tls={cert_file: a}"], "server.tls.key_file", "together"),
        (["server.tls={client_ca_file: a}"], "server.tls.client_ca_file", "server.tls.cert_file"),
        (["auth.tokenreview.access={verb: post}"], "auth.tokenreview.access", "resource or a path"),
        (["server.host=0.0.0.0"], "auth.mode", "allow_anonymous"),
        (
            ["server.host=0.0.0.0", "auth.allow_anonymous=true", "chaos.enabled=true"],
            "chaos.enabled",
            "chaos.admins",
        ),
        (
            ["auth.mode=bearer", "auth.tokens_file=t", "chaos={enabled: true, admins: []}"],
            "chaos.admins",
            "at least one",
        ),
        (["auth.mode=[none, basic]", "auth.users_file=u"], "auth.mode", "let everybody in"),
    ],
)
def test_what_is_lacking_is_told(sets: list[str], path: str, told: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(None, {}, sets)
    (fault,) = caught.value.faults
    assert fault.startswith(path)
    assert told in fault


@pytest.mark.parametrize(
    "sets",
    [
        ["auth.mode=[bearer, basic]", "auth.tokens_file=t", "auth.users_file=u", "server.host=0.0.0.0"],
        ["auth.mode=jwt", "auth.jwt.key_file=k"],
        ["auth.mode=jwt", "auth.jwt={issuer: i, jwks_url: 'https://i/k', revocations_file: r}"],
        ["auth.jwt={issuer: i, jwks_url: 'http://127.0.0.1:1/k'}"],
        ["auth.mode=tokenreview", "server.host=0.0.0.0"],
        ["auth.mode=mtls", TLS, "auth.mtls.names=['dns:*.svc', 'uri:spiffe://a/b', 'cn:x']"],
        ["server.host=0.0.0.0", "auth.allow_anonymous=true"],
        ["chaos.enabled=true"],
        ["chaos.enabled=true", "auth.mode=bearer", "auth.tokens_file=t", "server.host=0.0.0.0"],
    ],
)
def test_what_fits_together_is_taken(sets: list[str]) -> None:
    load(None, {}, sets)


def test_revocations_are_kept_beside_the_key_unless_something_else_is_said() -> None:
    beside = load(None, {}, ["auth.jwt.key_file=/etc/k"]).auth.jwt
    assert beside.revocations_path == "/etc/k.revoked"
    elsewhere = load(None, {}, ["auth.jwt={key_file: /etc/k, revocations_file: /var/r}"]).auth.jwt
    assert elsewhere.revocations_path == "/var/r"
