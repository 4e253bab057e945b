"""Where Redis is, out of one URL: a server, a socket, Sentinels and the name of their master, or nodes of a cluster.

    redis://[user:password@]host[:6379][/db]             rediss://… the same over TLS
    unix://[user:password@]/path[?db=0]
    redis+sentinel://[user:password@]h1[:26379],h2…/name[/db]
    redis+cluster://[user:password@]h1[:6379],h2…        rediss+sentinel://…, rediss+cluster://… over TLS

User and password are Redis's own, percent-encoded where they hold `:`, `/` or `@`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum, auto
from urllib.parse import parse_qsl, unquote

SCHEMES = (
    "redis",
    "rediss",
    "unix",
    "redis+sentinel",
    "rediss+sentinel",
    "redis+cluster",
    "rediss+cluster",
)
HINT = "redis://host:6379/0, rediss://…, unix://…, redis+sentinel://… or redis+cluster://…"

_URL = re.compile(
    rf"(?P<scheme>{'|'.join(map(re.escape, SCHEMES))})://"
    r"(?:(?P<credentials>[^@/?#]*)@)?(?P<hosts>[^/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?"
)
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<name>[^\s:\[\]]+))(?::(?P<port>[0-9]{1,5}))?")

Address = tuple[str, int]


class Topology(Enum):
    """What the addresses lead to."""

    SERVER = auto()
    SENTINELS = auto()
    CLUSTER = auto()


@dataclass(frozen=True)
class RedisAddress:
    """A URL taken apart."""

    topology: Topology
    addresses: tuple[Address, ...] = ()
    socket: str = ""
    """Path of a Unix socket; then there are no addresses."""
    tls: bool = False
    service: str = ""
    """What the Sentinels call the master."""
    db: int = 0
    username: str = ""
    password: str = field(default="", repr=False)


def parse(url: str) -> RedisAddress:
    """Take a URL apart; raises ValueError with what would be right."""
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"is not a URL like {HINT}")
    scheme = found["scheme"]
    username, _, password = (found["credentials"] or "").partition(":")
    path = [unquote(part) for part in (found["path"] or "").split("/") if part]
    options = dict(parse_qsl(found["query"] or "", keep_blank_values=True))
    known = {"db": options.pop("db", ""), "password": options.pop("password", "")}
    if options:
        raise ValueError(
            f"has the unknown option {min(options)}; TLS is set by redis.tls, times by redis.timeout"
        )
    known["password"] = unquote(password) or known["password"]
    topology, default_port = Topology.SERVER, 6379
    service = socket = ""
    if scheme.endswith("sentinel"):
        topology, default_port = Topology.SENTINELS, 26379
        if not path:
            raise ValueError("names no master; expected redis+sentinel://host:26379/mymaster")
        service = path.pop(0)
    elif scheme.endswith("cluster"):
        topology = Topology.CLUSTER
    elif scheme == "unix":
        socket, path = unquote(found["path"] or ""), []
        if found["hosts"] or socket in ("", "/"):
            raise ValueError("names no socket; expected unix:///run/redis.sock, with three slashes")
    db = known["db"] or (path.pop(0) if path else "0")
    if path or not db.isdecimal():
        raise ValueError("ends in no number of a database; expected one like redis://host:6379/0")
    if topology is Topology.CLUSTER and int(db):
        raise ValueError("names a database, and a cluster has only the first; leave it out")
    addresses = () if socket else tuple(_address(host, default_port) for host in found["hosts"].split(","))
    if topology is Topology.SERVER and len(addresses) > 1:
        raise ValueError("names several hosts; expected one, or redis+sentinel://… or redis+cluster://…")
    return RedisAddress(
        topology,
        addresses,
        socket,
        scheme.startswith("rediss"),
        service,
        int(db),
        unquote(username),
        known["password"],
    )


def _address(text: str, default_port: int) -> Address:
    found = _HOST.fullmatch(text)
    if found is None or int(found["port"] or default_port) > 65535:
        raise ValueError(f"has no host and port in {text!r}; expected one like host:6379")
    return found["six"] or unquote(found["name"]), int(found["port"] or default_port)
