"""Every error that the gateway raises itself, in one tree.

    GatewayError
    ├── ConfigurationError         the configuration cannot be used; lists every fault
    ├── PayloadError               a webhook body that cannot be taken as a whole
    │   ├── MalformedBody          … it is not JSON, not UTF-8 or no object (400)
    │   └── UnprocessableBody      … it is JSON of the wrong shape (422)
    ├── Unjudged                   what the policy asks of an alert is not known yet (503)
    ├── NotDurable                 neither Redis nor Kubernetes could take an alert (503)
    ├── Overloaded                 a bound was reached; the sender should try again (503)
    ├── StoreError                 a call to Redis failed
    │   ├── StoreRefused           … and Redis certainly did not perform it (OOM, READONLY, LOADING, never sent)
    │   └── StoreUnsure            … and Redis may have performed it (a time-out, a connection cut after sending)
    └── KubeError                  a call to the Kubernetes API failed
        ├── KubeConflict           409: the object changed since it was read
        ├── KubeAlreadyExists      409: an object of that name exists
        ├── KubeNotFound           404: no such object
        ├── KubeNamespaceMissing   404: no such namespace (or it is being deleted)
        ├── KubeExpired            410: the resourceVersion of a watch or list is too old
        ├── KubeInvalid            400, 413, 422 and webhook denials: the same write can never pass
        ├── KubeForbidden          401, 403: credentials or permissions are missing
        ├── KubeThrottled          429: try again later
        └── KubeUnavailable        5xx, time-outs, resets: the write may have happened
            └── KubeNotTried       … or it certainly did not: the breaker is open

Errors of libraries are translated into these at one boundary each (`state.client`, `kube.client`), chained with
`from`, their bodies cut short. `retryable` says whether the same call may succeed later.
"""

from __future__ import annotations


class GatewayError(Exception):
    """The root of the tree."""

    retryable = False


class ConfigurationError(GatewayError):
    """The configuration cannot be used. `faults` has one line for each fault, with its path and what would be right."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class PayloadError(GatewayError):
    """A webhook body that cannot be taken as a whole; the message says what is wrong and where."""


class MalformedBody(PayloadError):
    """Not JSON, not UTF-8, or no JSON object."""


class UnprocessableBody(PayloadError):
    """JSON, but not of the shape of an Alertmanager webhook."""


class Unjudged(GatewayError):
    """The policy asks for something of an alert that is not known yet; letting it pass would be a way around."""

    retryable = True


class NotDurable(GatewayError):
    """Neither Redis nor Kubernetes could take an alert, so the webhook must not be answered with 2xx."""

    retryable = True

    def __init__(self, message: str, *, retry_after: float = 1.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Overloaded(NotDurable):
    """A bound (memory, queue, connections) was reached; nothing was taken that is not noted."""


class StoreError(GatewayError):
    """A call to Redis failed. `kind` is the value of the metrics' label `error`."""

    retryable = True

    def __init__(self, message: str, *, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


class StoreRefused(StoreError):
    """Redis certainly did not perform the call."""


class StoreUnsure(StoreError):
    """Redis may or may not have performed the call."""


class KubeError(GatewayError):
    """A call to the Kubernetes API failed. `status` is the HTTP status, 0 where no answer came."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class KubeConflict(KubeError):
    retryable = True


class KubeAlreadyExists(KubeError):
    pass


class KubeNotFound(KubeError):
    pass


class KubeNamespaceMissing(KubeError):
    pass


class KubeExpired(KubeError):
    retryable = True


class KubeInvalid(KubeError):
    pass


class KubeForbidden(KubeError):
    retryable = True


class KubeThrottled(KubeError):
    retryable = True


class KubeUnavailable(KubeError):
    retryable = True


class KubeNotTried(KubeUnavailable):
    """Nothing was sent, because the API is known to fail. `retry_after`: seconds until it is asked again."""
