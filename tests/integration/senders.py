"""Senders of every mode of authentication: what a gateway needs to know them, and what good and bad ones show."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bcrypt

from chaos.rig.api import Api
from chaos.rig.certificates import Authority, Pair
from tests.unit.web.auth.tokens import mangled, pem, signing, tampered, token, unsigned

AUDIENCE = "alert-gateway"
MODES = ("bearer", "basic", "jwt", "tokenreview", "mtls")


@dataclass(frozen=True)
class Shown:
    """What one sender shows. `status` is the answer to it, 0 where it does not get as far as HTTP."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    certificate: Pair | None = None


def bearer(value: str, status: int = 401) -> Shown:
    return Shown(status, {"Authorization": f"Bearer {value}"})


def basic(user: str, password: str, status: int = 401) -> Shown:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    return Shown(status, {"Authorization": f"Basic {pair}"})


class Senders:
    """Credentials in files of `folder`; accounts in a namespace of the cluster."""

    def __init__(self, folder: Path, cluster: Api, namespace: str) -> None:
        self._folder = folder
        self._cluster = cluster
        self._namespace = namespace
        self.ca = Authority(folder)
        self._other_ca = Authority(folder, "other")
        self.server = self.ca.issue("server", common_name="gateway", loopback=True)
        self.client = self.ca.issue("client", dns=["alertmanager.monitoring.svc"])
        self.tokens = self._file("tokens", "alertmanager:s3cret\n")
        hashed = bcrypt.hashpw(b"s3cret", bcrypt.gensalt(6)).decode()
        self.users = self._file("users", f"alertmanager:{hashed}\n")
        self.key = folder / "token.key"
        self.key.write_bytes(pem())
        self._file("token.key.revoked", f"taken-back {int(time.time()) + 3600} {int(time.time())}\n")

    def _file(self, name: str, text: str) -> Path:
        path = self._folder / name
        path.write_text(text)
        return path

    def account(self, name: str, audience: str = AUDIENCE) -> str:
        """A token of a service account, which is made if it is not there."""
        where = f"/api/v1/namespaces/{self._namespace}/serviceaccounts"
        self._cluster.send("POST", where, {"metadata": {"name": name}})
        spec = {"spec": {"audiences": [audience], "expirationSeconds": 600}}
        return str(self._cluster.call("POST", f"{where}/{name}/token", spec)["status"]["token"])

    def without_account(self, name: str) -> str:
        """A token whose account is gone."""
        made = self.account(name)
        self._cluster.call("DELETE", f"/api/v1/namespaces/{self._namespace}/serviceaccounts/{name}")
        return made

    def settings(self, mode: str) -> dict[str, Any]:
        """What a gateway needs to know the senders of a mode."""
        rules: dict[str, dict[str, Any]] = {
            "bearer": {"tokens_file": str(self.tokens)},
            "basic": {"users_file": str(self.users)},
            "jwt": {"jwt": {"key_file": str(self.key)}},
            "tokenreview": {
                "tokenreview": {
                    "audiences": [AUDIENCE],
                    "names": [f"system:serviceaccount:{self._namespace}:alert*"],
                }
            },
            "mtls": {"mtls": {"names": ["dns:*.monitoring.svc"]}},
        }
        settings: dict[str, Any] = {"auth": {"mode": mode, **rules[mode]}}
        if mode == "mtls":
            settings["server"] = {
                "tls": {
                    "cert_file": str(self.server.certificate),
                    "key_file": str(self.server.key),
                    "client_ca_file": str(self.ca.file),
                }
            }
        return settings

    def good(self, mode: str) -> Shown:
        """A sender that is let in."""
        match mode:
            case "bearer":
                return bearer("s3cret", 201)
            case "basic":
                return basic("alertmanager", "s3cret", 201)
            case "jwt":
                return bearer(token(signing(self.key)), 201)
            case "tokenreview":
                return bearer(self.account("alertmanager"), 201)
            case _:
                return Shown(201, certificate=self.client)

    def bad(self, mode: str) -> dict[str, Shown]:
        """Senders that are not, by what is wrong with them."""
        return {"nothing shown": Shown(401), "another scheme": Shown(401, {"Authorization": "Digest x"})} | (
            getattr(self, f"_bad_{mode}")()
        )

    def _bad_bearer(self) -> dict[str, Shown]:
        return {
            "a wrong token": bearer("s3cre"),
            "a longer token": bearer("s3cret2"),
            "the name": bearer("alertmanager"),
            "an empty token": bearer(""),
            "a password": basic("alertmanager", "s3cret"),
        }

    def _bad_basic(self) -> dict[str, Shown]:
        return {
            "a wrong password": basic("alertmanager", "s3cre"),
            "an empty password": basic("alertmanager", ""),
            "an unknown user": basic("prober", "s3cret"),
            "no base64": Shown(401, {"Authorization": "Basic ?"}),
            "a token": bearer("s3cret"),
        }

    def _bad_jwt(self) -> dict[str, Shown]:
        key, now = signing(self.key), int(time.time())
        good = token(key)
        other = self._folder / "other.key"
        other.write_bytes(pem())
        return {
            "a tampered payload": bearer(tampered(good, part=1, sub="admin")),
            "a tampered signature": bearer(mangled(good)),
            "alg none": bearer(unsigned(good)),
            "a wrong key": bearer(token(signing(other))),
            "a wrong key under the right id": bearer(token(signing(other), headers={"kid": key.kid})),
            "a wrong audience": bearer(token(key, aud="other")),
            "a wrong issuer": bearer(token(key, iss="other")),
            "an expired one": bearer(token(key, exp=now - 60)),
            "one not yet valid": bearer(token(key, nbf=now + 600)),
            "a revoked one": bearer(token(key, jti="taken-back")),
            "no token at all": bearer("x.y.z"),
        }

    def _bad_tokenreview(self) -> dict[str, Shown]:
        return {
            "a word": bearer("s3cret"),
            "a tampered token": bearer(mangled(self.account("alertmanager"))),
            "a token for others": bearer(self.account("alertmanager", "https://kubernetes.default.svc")),
            "an account that is gone": bearer(self.without_account("alertgone")),
            "an account that is not named": bearer(self.account("shop"), 403),
        }

    def _bad_mtls(self) -> dict[str, Shown]:
        name = {"dns": ["alertmanager.monitoring.svc"]}
        return {
            "another name": Shown(403, certificate=self.ca.issue("named", dns=["shop.svc"])),
            "another authority": Shown(0, certificate=self._other_ca.issue("strange", **name)),
            "an expired one": Shown(0, certificate=self.ca.issue("late", lifetime=-60, **name)),
            "a token": bearer("s3cret"),
        }
