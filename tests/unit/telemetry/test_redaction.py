"""What looks like a secret is not shown; what surrounds it, and what only sounds like one, is."""

from __future__ import annotations

import base64
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry.redaction import HIDDEN, is_secret, redacted

# Put together here, so that no scanner takes this file for a leak.
JWT = ".".join(
    base64.urlsafe_b64encode(part).rstrip(b"=").decode()
    for part in (json.dumps({"alg": "none"}).encode(), json.dumps({"sub": "x"}).encode(), b"signature-of-it")
)
AWS = "AKIA" + "IOSFODNN7EXAMPLE"
KIND = "EC PRIVATE KEY"
KEY = f"-----BEGIN {KIND}-----\nMHcCAQEEIOq\nwIDAQAB\n-----END {KIND}-----"
GITHUB = "ghp_" + "a1B2" * 9


@pytest.mark.parametrize(
    ("text", "secret", "shown"),
    [
        ("login password=hunter2 failed", "hunter2", "login password=*** failed"),
        ("PGPASSWORD: hunter2", "hunter2", "PGPASSWORD: ***"),
        ('{"db_password": "hunter \\" two"}', "hunter", '{"db_password": ***}'),
        (r"{\"token\": \"hunter2\"}", "hunter2", None),
        ("passwd='hunter two', user=x", "hunter", "passwd=***, user=x"),
        ("api-key => hunter2;", "hunter2", "api-key => ***;"),
        ("x_api_key=hunter2&y=1", "hunter2", "x_api_key=***&y=1"),
        ("aws_secret_access_key = wJalr/XUtn+FEMI", "wJalr", "aws_secret_access_key = ***"),
        ("client_secret:hunter2", "hunter2", "client_secret:***"),
        ("Authorization: Bearer hunter", "hunter", "Authorization: Bearer ***"),
        ("authorization: hunter", "hunter", "authorization: ***"),
        ("sent 'Bearer hunter2-long' to it", "hunter2", "sent 'Bearer ***' to it"),
        ("Basic YWRtaW46aHVudGVyMg==", "YWRtaW4", "Basic ***"),
        (f"got {JWT}, expired", JWT[:16], "got ***, expired"),
        (f"got {JWT[:30]}", JWT[:16], "got ***"),
        (f"{AWS} may not", AWS, "*** may not"),
        (f"a {KEY} b", "MHcCAQEEIOq", "a *** b"),
        (f"a {KEY[:50]}", "MHcCAQEEIOq", "a ***"),
        (f"cloned with {GITHUB}.", GITHUB, None),
        ("redis://user:hunt:er@redis:6379/0", "hunt", "redis://user:***@redis:6379/0"),
        ("https://x/y?sig=hunter%2B&a=1", "hunter", "https://x/y?sig=***&a=1"),
        (
            'spec.labels[password]: Invalid value: "hunter2": too long',
            "hunter2",
            "spec.labels[password]: Invalid value: ***: too long",
        ),
        ("password=~hunter2", "hunter2", "password=~***"),
    ],
)
def test_a_secret_is_hidden_and_its_name_stays(text: str, secret: str, shown: str | None) -> None:
    assert secret in text
    assert secret not in redacted(text)
    assert HIDDEN in redacted(text)
    if shown is not None:
        assert redacted(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "auth.tokens_file: line 3: not of the form name:token",
        "redis.password_file: is missing: redis.username_file names a user, who has a password",
        "token cannot be reviewed",
        "the credential is expired",
        "mode bearer needs it; name a file with one name:token a line",
        'admission webhook "policy.example" denied the request: namespace="kube-system" is not for this',
        "rr-podoomkilled-1a2b3c4d5e-1 in prod-api: 409 Conflict",
        "https://issuer.example/keys?x=1",
        "key=auth.jwt.key_file path=/etc/gateway/token.key",
        "",
    ],
)
def test_what_only_sounds_like_a_secret_is_shown(text: str) -> None:
    assert redacted(text) == text


PIECES = (
    "password",
    "token",
    "=",
    ": ",
    " ",
    '"',
    "'",
    "\\",
    "Bearer ",
    "eyJabcdefghijk",
    ".",
    "***",
    "://a:b@",
    "]",
)


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join))
def test_hiding_twice_is_hiding_once(text: str) -> None:
    assert redacted(redacted(text)) == redacted(text)


@pytest.mark.parametrize(
    "piece",
    [
        "token=",
        'password="',
        "-----BEGIN PRIVATE KEY-----",
        "://a:",
        "eyJaaaaaaaa.",
        "bearer ",
        "[[[[password",
    ],
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    began = time.perf_counter()
    redacted(text)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize(
    "name", ["password", "DB_PASSWORD", "apiKey", "access_token", "Authorization", "tokens"]
)
def test_some_names_are_enough(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize("name", ["key", "tokens_file", "path", "request_id", "identity", "secretary"])
def test_others_are_not(name: str) -> None:
    assert not is_secret(name)
