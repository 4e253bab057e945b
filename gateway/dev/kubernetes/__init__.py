"""A small Kubernetes API of our own, in memory: enough of one for the gateway and for `kubectl`.

It shares no code with `gateway.kube`, whose counterpart it plays: one's mistake must not hide the other's. What is
here was held against a real kube-apiserver by `tests/contract/test_embedded_api.py`. There is no authentication, no
server-side apply, no controller but the one that finishes namespaces, and of CEL only immutability; managed fields
are not tracked.

`store` keeps objects and their history; `schema`, `metadata` and `admission` decide what may be stored; `patches`,
`selectors` and `printing` do what their names say; `api` is the operations; `requests`, `negotiation`, `discovery`,
`rendering`, `watching` and `routes` are HTTP; `server` starts it.
"""

from gateway.dev.kubernetes.server import EmbeddedKubernetes

__all__ = ["EmbeddedKubernetes"]
