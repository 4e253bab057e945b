"""A small OAuth2 issuer of a test's own: client credentials (RFC 6749, 4.4) and a JWKS whose keys can change."""

from __future__ import annotations

import base64
import json
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote

import jwt
from cryptography.hazmat.primitives.asymmetric import ed25519


class Issuer(ThreadingHTTPServer):
    """Serves `/token` and `/keys`. `clients` are id → secret; `up` False lets it answer 503."""

    def __init__(self, clients: Mapping[str, str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.token_url, self.jwks_url = f"{self.url}/token", f"{self.url}/keys"
        self.clients = dict(clients)
        self.up = True
        self.asked = 0
        """How often the keys were read."""
        self.audience = "alert-gateway"
        self.rotate()

    def rotate(self) -> None:
        """A new key takes the place of the old one."""
        self.key = ed25519.Ed25519PrivateKey.generate()
        self.kid = uuid.uuid4().hex

    def token(self, name: str = "alertmanager", *, lifetime: float = 3600, **claims: Any) -> str:
        """A token as `/token` gives it; `claims` are laid over its own, None leaves one out."""
        now = int(time.time())
        body = {
            "iss": self.url,
            "sub": name,
            "aud": self.audience,
            "iat": now,
            "exp": int(now + lifetime),
            "jti": uuid.uuid4().hex,
            **claims,
        }
        body = {key: value for key, value in body.items() if value is not None}
        return jwt.encode(body, self.key, algorithm="EdDSA", headers={"kid": self.kid})

    def keys(self) -> dict[str, Any]:
        """The JWKS."""
        entry = json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**entry, "kid": self.kid, "use": "sig", "alg": "EdDSA"}]}


class _Handler(BaseHTTPRequestHandler):
    server: Issuer

    def do_GET(self) -> None:
        if self.path != "/keys":
            self._answer(404, {})
            return
        self.server.asked += 1
        self._answer(*((200, self.server.keys()) if self.server.up else (503, {})))

    def do_POST(self) -> None:
        form = parse_qs(self.rfile.read(int(self.headers.get("Content-Length", 0))).decode())
        client, secret = self._client(form)
        if not self.server.up:
            self._answer(503, {})
        elif form.get("grant_type") != ["client_credentials"] or self.server.clients.get(client) != secret:
            self._answer(401, {"error": "invalid_client"})
        else:
            token = self.server.token(client)
            self._answer(200, {"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def _client(self, form: Mapping[str, list[str]]) -> tuple[str, str]:
        scheme, _, value = self.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "basic":
            user, _, password = base64.b64decode(value).decode().partition(":")
            return unquote(user), unquote(password)
        return form.get("client_id", [""])[0], form.get("client_secret", [""])[0]

    def _answer(self, status: int, body: Mapping[str, Any]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        """Nothing on stderr."""


@contextmanager
def issuing(**clients: str) -> Iterator[Issuer]:
    """An issuer while the block runs."""
    with Issuer(clients) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
