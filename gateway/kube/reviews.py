"""Asks the Kubernetes API who a token belongs to (TokenReview) and what its owner may do (SubjectAccessReview).

Both are objects that are created and not kept: the answer to the POST is all there is. A review that fails as a call is
a `KubeError`; one that says no is an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.config.settings import ReviewAccess
from gateway.errors import KubeUnavailable
from gateway.kube.answers import excerpt
from gateway.kube.connection import Call, Connection
from gateway.kube.observing import Verb
from gateway.model import TokenOwner

LIMIT: Final = 2.0
"""Seconds for one review: a webhook waits for it."""

_TOKENS: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_ACCESS: Final = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


class _User(msgspec.Struct, frozen=True):
    username: str = ""
    uid: str = ""
    groups: list[str] | None = None
    extra: dict[str, list[str]] | None = None


class _TokenStatus(msgspec.Struct, frozen=True):
    authenticated: bool = False
    user: _User | None = None
    audiences: list[str] | None = None


class _TokenAnswer(msgspec.Struct, frozen=True):
    status: _TokenStatus


class _AccessStatus(msgspec.Struct, frozen=True):
    allowed: bool = False
    denied: bool = False


class _AccessAnswer(msgspec.Struct, frozen=True):
    status: _AccessStatus


class Reviews:
    """Reviews over the connection of the gateway's own account."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def owner(self, token: str, audiences: Sequence[str]) -> TokenOwner | None:
        """Whom the token belongs to, None where it is nobody's or for none of the audiences. Raises `KubeError`."""
        spec: dict[str, Any] = {"token": token, **({"audiences": list(audiences)} if audiences else {})}
        status = (
            await self._posted(_TOKENS, "authentication.k8s.io/v1", "TokenReview", spec, _TokenAnswer)
        ).status
        user = status.user
        if not status.authenticated or user is None or not user.username:
            return None
        # An API server that knows nothing of audiences leaves them out; then the token may be meant for others.
        if audiences and not set(audiences) & set(status.audiences or ()):
            return None
        return TokenOwner(user.username, user.uid, tuple(user.groups or ()), user.extra or {})

    async def permitted(self, owner: TokenOwner, access: ReviewAccess) -> bool:
        """Whether the owner may do that, by the cluster's own rules. Raises `KubeError`."""
        spec: dict[str, Any] = {
            "user": owner.name,
            "uid": owner.uid,
            "groups": list(owner.groups),
            "extra": owner.extra,
        }
        if access.path is not None:
            spec["nonResourceAttributes"] = {"verb": access.verb, "path": access.path}
        else:
            spec["resourceAttributes"] = {
                "verb": access.verb,
                "group": access.group,
                "resource": access.resource,
                "namespace": access.namespace,
            }
        answer = await self._posted(
            _ACCESS, "authorization.k8s.io/v1", "SubjectAccessReview", spec, _AccessAnswer
        )
        return answer.status.allowed and not answer.status.denied

    async def _posted(
        self, path: str, version: str, kind: str, spec: dict[str, Any], answer: type[Any]
    ) -> Any:
        body = msgspec.json.encode({"apiVersion": version, "kind": kind, "spec": spec})
        reply = await self._connection.call(Call(Verb.CREATE, "POST", path, {}, body), timeout=LIMIT)
        try:
            return msgspec.json.decode(reply, type=answer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise KubeUnavailable(f"review cannot be read: {excerpt(str(error))}", status=200) from error
