from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from chaos.rig.issuer import Issuer, issuing
from chaos.rig.waiting import eventually
from gateway.errors import ConfigurationError
from gateway.web.auth.jwt import ids
from gateway.web.auth.keys import read_keys
from gateway.web.ports import Backends
from tests.unit.web.auth.tokens import (
    EC,
    ED,
    RSA,
    MemoryRegister,
    mangled,
    pem,
    read,
    signing,
    tampered,
    token,
    unsigned,
    write,
)
from tests.unit.web.harness import Reply, Serve, Service

WEBHOOK = "/v1/webhooks/prometheus"
BODY = {"alerts": [{"labels": {"alertname": "A"}}]}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "token.key"
    path.write_bytes(pem())
    return path


@pytest.fixture
def register() -> MemoryRegister:
    return MemoryRegister()


@pytest.fixture
async def guarded(serve: Serve, key_file: Path, register: MemoryRegister) -> Service:
    return await started(serve, register, key_file=str(key_file))


async def started(serve: Serve, register: MemoryRegister, **rules: Any) -> Service:
    service = await serve(auth={"mode": "jwt", "jwt": rules}, backends=Backends(tokens=register))
    if register.up:
        await eventually(lambda: not service.web._door.warnings(), "the list of revoked tokens")
    return service


async def post(service: Service, credential: str) -> Reply:
    headers = {"Authorization": f"Bearer {credential}"}
    return await service.ask("POST", WEBHOOK, json=BODY, headers=headers)


async def answered(service: Service, credential: str, status: int) -> None:
    """Wait until a webhook with the credential gets this answer."""
    async with asyncio.timeout(15):
        while (await post(service, credential)).status != status:  # noqa: ASYNC110 - it is a question, too
            await asyncio.sleep(0.1)


async def test_a_good_token_is_let_in_under_its_name(guarded: Service, key_file: Path) -> None:
    good = token(signing(key_file))
    for _ in range(3):
        assert (await post(guarded, good)).status == 202
    assert guarded.value("gateway_token_validations_total", result="valid") == 3


def confused(key_file: Path) -> str:
    """HS256 with the public key as the secret, which whoever verifies by the token's word would take."""
    key = signing(key_file)
    public = key.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)  # type: ignore[union-attr]
    good = token(key)
    claims = jwt.decode(good, options={"verify_signature": False})
    return jwt.encode(claims, public, algorithm="HS256", headers={"kid": key.kid})


def other_key(key_file: Path) -> str:
    known = signing(key_file)
    other = read_keys(pem()).signing
    assert other is not None
    return token(other, headers={"kid": known.kid})


def encoded(text: bytes) -> str:
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def payload_of_a_list(key_file: Path) -> str:
    key = signing(key_file)
    return jwt.PyJWS().encode(b"[1]", key.key, algorithm=key.algorithm, headers={"kid": key.kid})


def without_kid(key_file: Path) -> str:
    key = signing(key_file)
    claims = jwt.decode(token(key), options={"verify_signature": False})
    return jwt.encode(claims, key.key, algorithm=key.algorithm)


Bad = Callable[[Path], str]
BAD: dict[str, tuple[Bad, str]] = {
    "tampered payload": (lambda k: tampered(token(signing(k)), part=1, sub="admin"), "bad_signature"),
    "tampered signature": (lambda k: mangled(token(signing(k))), "bad_signature"),
    "no signature": (lambda k: token(signing(k)).rpartition(".")[0] + ".", "bad_signature"),
    "alg none": (lambda k: unsigned(token(signing(k))), "bad_algorithm"),
    "alg HS256 with the public key": (confused, "bad_algorithm"),
    "alg of another kind": (lambda k: tampered(token(signing(k)), part=0, alg="ES256"), "bad_algorithm"),
    "wrong key under the right id": (other_key, "bad_signature"),
    "a key that is not known": (lambda k: token(signing(k), headers={"kid": "other"}), "invalid"),
    "no key id": (without_kid, "invalid"),
    "wrong audience": (lambda k: token(signing(k), aud="other"), "wrong_audience"),
    "no audience": (lambda k: token(signing(k), aud=None), "wrong_audience"),
    "wrong issuer": (lambda k: token(signing(k), iss="other"), "wrong_issuer"),
    "no issuer": (lambda k: token(signing(k), iss=None), "wrong_issuer"),
    "expired": (lambda k: token(signing(k), exp=int(time.time()) - 31), "expired"),
    "no expiry": (lambda k: token(signing(k), exp=None), "invalid"),
    "an expiry that is no number": (lambda k: token(signing(k), exp="soon"), "malformed"),
    "not yet valid": (lambda k: token(signing(k), nbf=int(time.time()) + 60), "not_yet_valid"),
    "issued in the future": (lambda k: token(signing(k), iat=int(time.time()) + 60), "not_yet_valid"),
    "lives too long": (lambda k: token(signing(k), exp=int(time.time()) + 367 * 86400), "invalid"),
    "no id": (lambda k: token(signing(k), jti=None), "invalid"),
    "names nobody": (lambda k: token(signing(k), sub=""), "invalid"),
    "a name with a line break": (lambda k: token(signing(k), sub="a\nb"), "invalid"),
    "no token": (lambda _: "word", "malformed"),
    "three parts of nothing": (lambda _: "a.b.c", "malformed"),
    "surrogates": (lambda _: "\udcff.\udcff.\udcff", "malformed"),
    "a head that is nested deep": (lambda _: f"{encoded(b'[' * 5000)}.e30.e30", "malformed"),
    "a head that is no object": (lambda _: f"{encoded(b'[1]')}.e30.e30", "malformed"),
    "a head with a number as its key id": (
        lambda k: tampered(token(signing(k)), part=0, kid=7),
        "malformed",
    ),
    "an infinite expiry": (lambda k: token(signing(k), exp=float("inf")), "malformed"),
    "a list as the time": (lambda k: token(signing(k), nbf=[1]), "malformed"),
    "a payload that is no object": (payload_of_a_list, "malformed"),
    "an empty one": (lambda _: "", "missing"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_token_is_401_and_counted(guarded: Service, key_file: Path, name: str) -> None:
    make, result = BAD[name]
    for _ in range(2):  # also when something was remembered
        reply = await post(guarded, make(key_file))
        assert reply.status == 401
    assert guarded.engine.accepted == []
    assert guarded.value("gateway_token_validations_total", result=result) == 2
    assert guarded.value("gateway_token_expirations_total") == (2 if result == "expired" else 0)


async def test_a_revoked_token_is_401_also_when_it_was_remembered(
    guarded: Service, key_file: Path, register: MemoryRegister
) -> None:
    good = token(signing(key_file), jti="this-one")
    assert (await post(guarded, good)).status == 202
    register.entries["this-one"] = f"{int(time.time()) + 3600} {int(time.time())}"
    await eventually(lambda: _revoked(guarded, "this-one"), "the revocation", seconds=10)
    assert (await post(guarded, good)).status == 401
    register.up = False
    assert (await post(guarded, good)).status == 401
    assert guarded.value("gateway_token_validations_total", result="revoked") == 2
    assert (await post(guarded, token(signing(key_file)))).status == 202


async def test_another_spelling_of_a_signature_is_revoked_with_it(
    guarded: Service, key_file: Path, register: MemoryRegister
) -> None:
    good = token(signing(key_file))
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # The last digit of 86 carries two bits of the 64 bytes; the other four mean nothing.
    spelled = good[:-1] + alphabet[alphabet.index(good[-1]) ^ 1]
    assert spelled != good
    (whole,) = ids(good, {})
    register.entries[whole] = f"{int(time.time()) + 3600} {int(time.time())}"
    await eventually(lambda: _revoked(guarded, whole), "the revocation", seconds=10)
    assert (await post(guarded, good)).status == 401
    assert (await post(guarded, spelled)).status == 401


def _revoked(service: Service, one: str) -> bool:
    (mode,) = service.web._door._modes  # type: ignore[attr-defined]
    return one in mode._revocations._entries


async def test_a_token_that_expires_while_it_is_remembered_is_refused(serve: Serve, key_file: Path) -> None:
    service = await started(serve, MemoryRegister(), key_file=str(key_file), leeway="0s")
    brief = token(signing(key_file), exp=int(time.time()) + 5)
    assert (await post(service, brief)).status == 202

    await answered(service, brief, 401)
    assert service.value("gateway_token_expirations_total") == 1


async def test_no_token_counts_before_a_list_of_revoked_ones_was_read(serve: Serve, key_file: Path) -> None:
    register = MemoryRegister()
    register.up = False
    service = await started(serve, register, key_file=str(key_file))
    good = token(signing(key_file))
    reply = await post(service, good)
    assert reply.status == 503  # Alertmanager tries again
    assert "Retry-After" in reply.headers
    assert service.engine.accepted == []
    assert (await post(service, mangled(good))).status == 401
    assert "no jwt is accepted" in (await service.ask("GET", "/readyz")).body.decode()
    register.up = True
    await eventually(lambda: not service.web._door.warnings(), "the list", seconds=10)
    assert (await post(service, good)).status == 202


@pytest.mark.parametrize("algorithm", [ED, EC, RSA])
async def test_every_kind_of_key_signs_and_a_new_one_takes_over(
    serve: Serve, tmp_path: Path, algorithm: str
) -> None:
    path = tmp_path / "key"
    write(path, pem(algorithm))
    service = await started(serve, MemoryRegister(), key_file=str(path))
    old = token(signing(path))
    assert (await post(service, old)).status == 202
    second = pem(algorithm)
    write(path, second + read(path))
    fresh = token(signing(path))
    await answered(service, fresh, 202)
    assert (await post(service, old)).status == 202
    write(path, second)
    await answered(service, old, 401)


async def test_a_shared_secret_signs_where_that_is_allowed(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "key"
    write(path, b"x" * 40)
    with pytest.raises(ConfigurationError, match="HS256"):
        await started(serve, MemoryRegister(), key_file=str(path))
    service = await started(serve, MemoryRegister(), key_file=str(path), algorithms=["HS256"])
    assert (await post(service, token(signing(path)))).status == 202


@pytest.mark.parametrize(
    "content", [b"", b"short", b"-----BEGIN PRIVATE KEY-----\nx\n-----END PRIVATE KEY-----\n"]
)
def test_a_key_file_without_a_usable_key_is_a_fault(content: bytes) -> None:
    with pytest.raises(ConfigurationError, match=r"auth\.jwt\.key_file"):
        read_keys(content)


def issued_rules(issuer: Issuer, tmp_path: Path) -> dict[str, Any]:
    return {"issuer": issuer.url, "jwks_url": issuer.jwks_url, "revocations_file": str(tmp_path / "revoked")}


async def test_an_issuers_token_is_let_in_and_its_bad_ones_are_not(serve: Serve, tmp_path: Path) -> None:
    with issuing() as issuer:
        service = await started(serve, MemoryRegister(), **issued_rules(issuer, tmp_path))
        good = issuer.token()
        assert (await post(service, good)).status == 202
        for bad, result in (
            (mangled(good), "bad_signature"),
            (tampered(good, part=1, sub="admin"), "bad_signature"),
            (unsigned(good), "bad_algorithm"),
            (issuer.token(aud="other"), "wrong_audience"),
            (issuer.token(iss="alert-gateway"), "wrong_issuer"),
            (issuer.token(lifetime=-60), "expired"),
            (issuer.token(nbf=int(time.time()) + 90), "not_yet_valid"),
            (issuer.token(sub=None), "invalid"),
            (issuer.token(exp=None), "invalid"),
        ):
            assert (await post(service, bad)).status == 401
            assert service.value("gateway_token_validations_total", result=result) >= 1


async def test_an_issuer_that_changes_its_key_is_believed_at_once_and_not_asked_for_each_stranger(
    serve: Serve, tmp_path: Path
) -> None:
    with issuing() as issuer:
        service = await started(serve, MemoryRegister(), **issued_rules(issuer, tmp_path))
        (mode,) = service.web._door._modes  # type: ignore[attr-defined]
        old = issuer.token()
        assert (await post(service, old)).status == 202
        issuer.rotate()
        # As if the keys had been read a while ago; right after a reading it would not ask again.
        mode._issuer._read_at -= 10
        mode._issuer._tried_at -= 10
        assert (await post(service, issuer.token())).status == 202
        assert (await post(service, old)).status == 401
        asked = issuer.asked
        for _ in range(20):
            stranger = tampered(issuer.token(), part=0, kid="stranger")
            assert (await post(service, stranger)).status == 401
        assert issuer.asked == asked


async def test_an_issuer_that_is_away_at_the_start_is_503_and_its_last_keys_hold_later(
    serve: Serve, tmp_path: Path
) -> None:
    with issuing() as issuer:
        issuer.up = False
        service = await serve(
            auth={"mode": "jwt", "jwt": issued_rules(issuer, tmp_path)},
            backends=Backends(tokens=MemoryRegister()),
        )
        good = issuer.token()
        assert (await post(service, good)).status == 503
        issuer.up = True
        await answered(service, good, 202)
        issuer.up = False
        assert (await post(service, issuer.token())).status == 202
