"""`gateway token`: what it issues is let in, what it revokes is on the lists, and it says where it could not write."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest

from chaos.rig.issuer import issuing
from chaos.rig.redis_server import RedisServer
from gateway.cli import main
from gateway.web.auth.revocations import read_entries
from tests.unit.web.auth.tokens import pem

AWAY = "redis://127.0.0.1:9/0"


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "token.key"
    path.write_bytes(pem())
    return path


def words(key_file: Path, url: str) -> list[str]:
    return ["--set", f"auth.jwt.key_file={key_file}", "--set", f"redis.url={url}"]


def said(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_token_is_issued_listed_and_revoked(
    key_file: Path, redis_server: RedisServer, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(key_file, redis_server.url)
    assert main(["token", "issue", "alert manager", "--ttl", "1h", *given]) == 0
    printed = capsys.readouterr()
    token = printed.out.strip()
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims["aud"], claims["iss"]) == (
        "alert manager",
        "alert-gateway",
        "alert-gateway",
    )
    assert claims["exp"] - claims["iat"] == 3600
    assert token not in printed.err
    assert main(["token", "list", "--output", "json", *given]) == 0
    (row,) = [row for row in said(capsys) if row["id"] == claims["jti"]]
    assert (row["name"], row["state"]) == ("alert manager", "valid")
    assert main(["token", "revoke", claims["jti"], *given]) == 0
    assert capsys.readouterr().out == f"1 token revoked in Redis and {key_file}.revoked.\n"
    assert claims["jti"] in read_entries(Path(f"{key_file}.revoked").read_text())
    assert main(["token", "list", "--output", "json", *given]) == 0
    (row,) = [row for row in said(capsys) if row["id"] == claims["jti"]]
    assert row["state"] == "revoked"
    assert main(["token", "list", *given]) == 0
    assert claims["jti"] in capsys.readouterr().out


def test_a_token_of_its_own_is_revoked_by_its_id_and_a_strangers_by_its_hash(
    key_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = words(key_file, AWAY)
    assert main(["token", "issue", "a", *given]) == 0
    own = capsys.readouterr().out.strip()
    jti = jwt.decode(own, options={"verify_signature": False})["jti"]
    with issuing() as issuer:
        foreign = issuer.token(jti=jti)  # must not revoke the other token
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{foreign}\n"))
    assert main(["token", "revoke", "-", "--output", "json", *given]) == 0
    (revoked,) = said(capsys)["revoked"]
    assert revoked.startswith("sha256~")
    assert main(["token", "revoke", own, "--output", "json", *given]) == 0
    assert said(capsys)["revoked"] == [jti]
    entries = read_entries(Path(f"{key_file}.revoked").read_text())
    assert set(entries) == {revoked, jti}
    expires = int(entries[jti].split()[0])
    assert abs(expires - time.time() - 90 * 86400) < 60


def test_without_redis_it_warns_and_without_both_it_fails(
    key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(key_file, AWAY)
    assert main(["token", "issue", "a", *given]) == 0
    assert "the token counts, but" in capsys.readouterr().err
    assert main(["token", "revoke", "abc", *given]) == 0
    assert f"revoked in {key_file}.revoked only" in capsys.readouterr().err
    nowhere = ["--set", "auth.jwt.revocations_file=/dev/null/none"]
    assert main(["token", "revoke", "abc", *given, *nowhere]) == 3
    assert "Nothing was revoked" in capsys.readouterr().err
    assert main(["token", "list", *given]) == 3


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (["issue", ""], "printable"),
        (["issue", "a\nb"], "printable"),
        (["issue", "a", "--ttl", "400d"], "max_lifetime"),
        (["revoke", "a b"], "neither a token"),
        (["revoke", "a.b.c"], "no token"),
    ],
)
def test_what_cannot_be_is_a_usage_error(
    key_file: Path, capsys: pytest.CaptureFixture[str], more: list[str], reason: str
) -> None:
    assert main(["token", *more, *words(key_file, AWAY)]) == 2
    assert reason in capsys.readouterr().err


def test_without_a_key_nothing_is_issued(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["token", "issue", "a", "--set", f"redis.url={AWAY}"]) == 2
    assert "auth.jwt.key_file" in capsys.readouterr().err
