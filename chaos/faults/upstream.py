"""The API behind the proxy: how to reach it, and how clients of the proxy come by the same access.

Whatever a client sends as a header (a bearer token, above all) is passed on, so the proxy needs none of it. A client
certificate cannot be passed on: it ends where TLS ends. So the proxy uses the kubeconfig's one itself, and then whoever
reaches the proxy has that user's rights; let it listen on loopback only.
"""

from __future__ import annotations

import base64
import binascii
import ssl
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_OF_CERTIFICATE = {"client-certificate", "client-certificate-data", "client-key", "client-key-data"}


class UnusableKubeconfig(ValueError):
    """The kubeconfig cannot be read, or lacks what it takes to reach an API; the message says what."""


@dataclass(frozen=True, slots=True)
class Upstream:
    """An API server. `ca`, `certificate` and `key` are PEM."""

    url: str
    ca: str | None = None
    """None for the authorities that the system trusts."""
    verify: bool = True
    server_name: str | None = None
    """What the server's certificate must be for, if not the URL's host."""
    certificate: str | None = None
    key: str | None = field(default=None, repr=False)
    proxy: str | None = None
    user: Mapping[str, Any] = field(default_factory=dict, repr=False)
    """What a client's kubeconfig says about its user: a token, an exec plugin, …"""
    context: str = "fault-proxy"
    namespace: str = "default"

    @classmethod
    def read(cls, path: Path, context: str | None = None) -> Upstream:
        """Reads a kubeconfig, by default its current context. Raises `UnusableKubeconfig`."""
        try:
            content = yaml.safe_load(path.read_text(encoding="utf-8"))
            name = context or content["current-context"]
            chosen = _named(content, "context", name)
            cluster = _named(content, "cluster", chosen["cluster"])
            user = _named(content, "user", chosen["user"]) if chosen.get("user") else {}
            folder = path.resolve().parent
            shared = {key: value for key, value in user.items() if key not in _OF_CERTIFICATE}
            if "tokenFile" in shared:
                shared["tokenFile"] = str(folder / shared["tokenFile"])
            return cls(
                url=str(cluster["server"]).rstrip("/"),
                ca=_pem(cluster, "certificate-authority", folder),
                verify=not cluster.get("insecure-skip-tls-verify", False),
                server_name=cluster.get("tls-server-name"),
                certificate=_pem(user, "client-certificate", folder),
                key=_pem(user, "client-key", folder),
                proxy=cluster.get("proxy-url"),
                user=shared,
                context=name,
                namespace=chosen.get("namespace", "default"),
            )
        except (OSError, yaml.YAMLError, LookupError, TypeError, AttributeError, binascii.Error) as error:
            raise UnusableKubeconfig(f"{path}: {error}") from error

    def tls(self) -> ssl.SSLContext | None:
        """For connections to it; None where it speaks plain HTTP."""
        if not self.url.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca)
        # Python 3.13's strict checks refuse the authorities of many clusters, which other clients accept.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        if not self.verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        if self.certificate and self.key:
            load_certificate(context, self.certificate, self.key)
        return context

    def kubeconfig(self, url: str, ca: str) -> dict[str, Any]:
        """A kubeconfig with the same context and user for another URL, whose authority is `ca`."""
        cluster = {"server": url, "certificate-authority-data": base64.b64encode(ca.encode()).decode()}
        context = {"cluster": self.context, "user": self.context, "namespace": self.namespace}
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": self.context,
            "clusters": [{"name": self.context, "cluster": cluster}],
            "users": [{"name": self.context, "user": dict(self.user)}],
            "contexts": [{"name": self.context, "context": context}],
        }


def load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Gives a TLS context its certificate; `ssl` wants files, which exist for that moment only."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "certificate.pem"
        file.touch(mode=0o600)
        file.write_text(key + "\n" + certificate)
        context.load_cert_chain(file)


def _named(content: Mapping[str, Any], kind: str, name: str) -> dict[str, Any]:
    for entry in content[f"{kind}s"]:
        if entry["name"] == name:
            return dict(entry[kind])
    raise LookupError(f"no {kind} {name!r}")


def _pem(entry: Mapping[str, Any], key: str, folder: Path) -> str | None:
    if data := entry.get(f"{key}-data"):
        return base64.b64decode(str(data)).decode()
    if file := entry.get(key):
        return (folder / str(file)).read_text(encoding="utf-8")
    return None
