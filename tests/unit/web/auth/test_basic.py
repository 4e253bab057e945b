from __future__ import annotations

import asyncio
import base64
from pathlib import Path

import argon2
import bcrypt
import pytest

from chaos.rig.clocks import Clock
from gateway.errors import ConfigurationError
from gateway.web.auth.basic import WAITING, Basic, matches, read_users
from gateway.web.auth.identities import Credentials, Identity, Refusal, Result
from tests.unit.web.harness import Serve, Service

WEBHOOK = "/v1/webhooks/prometheus"
BODY = {"alerts": [{"labels": {"alertname": "A"}}]}


def bcrypted(password: str, kind: str = "2y") -> str:
    hashed = bcrypt.hashpw(password.encode(), bcrypt.gensalt(4)).decode()
    return hashed.replace("$2b$", f"${kind}$", 1)


def argoned(password: str) -> str:
    return argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(password)


def shown(user: str, password: str) -> str:
    return base64.b64encode(f"{user}:{password}".encode()).decode()


def replace(path: Path, text: str) -> None:
    path.write_text(text)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    path = tmp_path / "users"
    path.write_text(f"# senders\n\nalertmanager:{bcrypted('one')}\nprober:{argoned('tw:ö')}\n")
    return path


@pytest.fixture
async def guarded(serve: Serve, users: Path) -> Service:
    return await serve(auth={"mode": "basic", "users_file": str(users)})


@pytest.mark.parametrize(("user", "password"), [("alertmanager", "one"), ("prober", "tw:ö")])
async def test_bcrypt_and_argon2_let_those_in_who_know_the_password(
    guarded: Service, user: str, password: str
) -> None:
    for _ in range(2):
        headers = {"Authorization": f"Basic {shown(user, password)}"}
        assert (await guarded.ask("POST", WEBHOOK, json=BODY, headers=headers)).status == 202
    assert guarded.value("gateway_token_validations_total", result="valid") == 2


@pytest.mark.parametrize(
    ("given", "result"),
    [
        (None, "missing"),
        ("Bearer one", "missing"),
        ("Basic", "malformed"),
        ("Basic !!!!", "malformed"),
        (f"Basic {base64.b64encode(b'no colon').decode()}", "malformed"),
        (f"Basic {base64.b64encode(bytes([0xFF]) + b':one').decode()}", "malformed"),
        (f"Basic {shown('alertmanager', 'two')}", "invalid"),
        (f"Basic {shown('alertmanager', '')}", "invalid"),
        (f"Basic {shown('alertmanager', 'one' + chr(0))}", "invalid"),
        (f"Basic {shown('alertmanager', 'x' * 100)}", "invalid"),
        (f"Basic {shown('prober', 'x' * 2000)}", "invalid"),
        (f"Basic {shown('nobody', 'one')}", "invalid"),
        (f"Basic {shown('ALERTMANAGER', 'one')}", "invalid"),
        (f"Basic {shown('', 'one')}", "invalid"),
    ],
)
async def test_everybody_else_is_401_and_counted(guarded: Service, given: str | None, result: str) -> None:
    headers = {} if given is None else {"Authorization": given}
    reply = await guarded.ask("POST", WEBHOOK, json=BODY, headers=headers)
    assert reply.status == 401
    assert reply.headers["WWW-Authenticate"] == 'Basic realm="alert-gateway", charset="UTF-8"'
    assert guarded.engine.accepted == []
    assert guarded.value("gateway_token_validations_total", result=result) == 1


async def test_several_modes_at_once_take_what_any_of_them_knows(
    serve: Serve, users: Path, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("relay:s3cret\n")
    auth = {"mode": ["bearer", "basic"], "users_file": str(users), "tokens_file": str(tokens)}
    service = await serve(auth=auth)
    for good in ("Bearer s3cret", f"Basic {shown('alertmanager', 'one')}"):
        assert (await service.ask("GET", "/v1/status", headers={"Authorization": good})).status == 200
    for bad in ("Bearer one", f"Basic {shown('alertmanager', 's3cret')}", "Digest x"):
        reply = await service.ask("GET", "/v1/status", headers={"Authorization": bad})
        assert reply.status == 401
        assert "Bearer realm=" in reply.headers["WWW-Authenticate"]
        assert "Basic realm=" in reply.headers["WWW-Authenticate"]


async def test_a_password_that_was_right_is_not_checked_again_until_it_is_old_or_the_file_changes(
    users: Path,
) -> None:
    clock = Clock()
    mode = Basic(users, clock)
    credentials = Credentials("basic", shown("alertmanager", "one"))
    assert await mode.examine(credentials) == Identity("alertmanager", mode.mode)
    mode._threads.shutdown()  # from here on only what is remembered can be right
    assert isinstance(await mode.examine(credentials), Identity)
    clock.now += 61
    with pytest.raises(RuntimeError, match="after shutdown"):
        await mode.examine(credentials)


async def test_a_new_file_makes_the_old_password_wrong_at_once(users: Path) -> None:
    clock = Clock()
    mode = Basic(users, clock)
    credentials = Credentials("basic", shown("alertmanager", "one"))
    assert isinstance(await mode.examine(credentials), Identity)
    replace(users, f"alertmanager:{bcrypted('fresh')}\n")
    clock.now += 3
    assert isinstance(await mode.examine(credentials), Refusal)
    assert isinstance(await mode.examine(Credentials("basic", shown("alertmanager", "fresh"))), Identity)
    mode.close()


async def test_guesses_are_bounded_and_do_not_hold_up_who_is_remembered(users: Path) -> None:
    mode = Basic(users, Clock())
    known = Credentials("basic", shown("alertmanager", "one"))
    assert isinstance(await mode.examine(known), Identity)
    guesses = [
        asyncio.ensure_future(mode.examine(Credentials("basic", shown("prober", f"guess {number}"))))
        for number in range(WAITING + 10)
    ]
    await asyncio.sleep(0)
    assert isinstance(await mode.examine(known), Identity)
    answers = [answer.result for answer in await asyncio.gather(*guesses) if isinstance(answer, Refusal)]
    assert answers.count(Result.UNAVAILABLE) == 10
    assert answers.count(Result.INVALID) == WAITING
    assert len(mode._right) == 1
    mode.close()


async def test_a_burst_with_one_password_is_one_check(users: Path) -> None:
    mode = Basic(users, Clock())
    known = Credentials("basic", shown("alertmanager", "one"))
    waiting = [asyncio.ensure_future(mode.examine(known)) for _ in range(200)]
    await asyncio.sleep(0)
    assert len(mode._under_way) == 1
    waiting[0].cancel()  # one of them leaves
    answers = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(answer, Identity) for answer in answers) == 199
    mode.close()


@pytest.mark.parametrize("kind", ["2a", "2b", "2y"])
def test_every_dialect_of_bcrypt_is_read(kind: str) -> None:
    stored = bcrypted("one", kind)
    assert read_users(f"a:{stored}".encode()) == {"a": stored}
    assert matches(stored, b"one")
    assert not matches(stored, b"on")


@pytest.mark.parametrize(
    "line",
    [
        "alice",
        "alice:",
        ":x",
        "alice:plain",
        "alice:{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk=",
        "alice:$apr1$x$ZxMHWWLMw1TKKMlLsWJRt1",
        "alice:$2y$05$short",
        "alice:$argon2id$broken",
        "alice:$argon2id$v=19$m=,t=,p=$x$y",
    ],
)
def test_a_hash_that_is_none_is_refused_and_never_shown(line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read_users(f"{line}\n".encode())
    assert "line 1" in str(caught.value)
    assert "plain" not in str(caught.value).replace("plaintext", "")


def test_a_user_stands_in_the_file_once() -> None:
    with pytest.raises(ConfigurationError, match="there already"):
        read_users(f"a:{bcrypted('x')}\na:{bcrypted('y')}\n".encode())
    with pytest.raises(ConfigurationError, match="no user"):
        read_users(b"# nobody\n")
