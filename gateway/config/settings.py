"""Every key of the configuration, its unit, its default and the reason for it.

The sections are frozen: a running gateway never sees a setting change under it; a reload makes new ones. How the layers
of a configuration become one of these is in `loading`, the document for people in `documenting`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    Strict,
    WithJsonSchema,
)
from pydantic.fields import FieldInfo

from gateway.config import redis_url
from gateway.config.matchers import Matchers
from gateway.config.quantities import Duration, PositiveDuration, Size

Flag = Annotated[bool, Strict()]
Port = Annotated[int, Strict(), Field(ge=0, le=65535)]
"""0 lets the system choose one."""
Natural = Annotated[int, Strict(), Field(ge=0)]
Positive = Annotated[int, Strict(), Field(ge=1)]
HeaderSize = Annotated[Size, Field(ge=1024, le=1024 * 1024)]
Share = Annotated[float, Strict(), Field(gt=0, le=1)]
Text = Annotated[str, Field(min_length=1)]


def _like(pattern: str, hint: str) -> tuple[AfterValidator, FieldInfo]:
    """Return what makes a text type of `pattern` whose faults say `hint` instead of the pattern."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"is not {hint}")
        return value

    return AfterValidator(check), Field(json_schema_extra={"pattern": f"^{pattern}$"})


Namespace = Annotated[
    str,
    *_like(
        r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "the name of a namespace: a-z, 0-9 and -, at most 63 of them"
    ),
]
Reason = Annotated[
    str, *_like(r"[a-z][a-z0-9_]{0,62}", "a reason: a word of a-z, 0-9 and _, like system_namespace")
]
"""A label value of a metric: few, short, and never taken from an alert."""


def _redis_url(url: str) -> str:
    redis_url.parse(url)
    return url


RedisURL = Annotated[
    str,
    AfterValidator(_redis_url),
    Field(json_schema_extra={"pattern": f"^({'|'.join(map(re.escape, redis_url.SCHEMES))})://.+$"}),
]
WebURL = Annotated[str, *_like(r"https?://[^\s/?#]+[^\s#]*", "a URL like https://issuer.example/keys")]
CollectorURL = Annotated[str, *_like(r"https?://[^\s/?#]+[^\s?#]*", "a URL like http://collector:4318")]
JwtAlgorithm = Literal[
    "EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "HS256"
]


class AuthMode(StrEnum):
    """How a sender shows who it is."""

    NONE = "none"
    BEARER = "bearer"
    BASIC = "basic"
    JWT = "jwt"
    TOKENREVIEW = "tokenreview"
    MTLS = "mtls"


def _modes(value: object) -> tuple[AuthMode, ...]:
    given = list(value) if isinstance(value, list | tuple) else [value]
    names = [mode.value for mode in AuthMode]
    if not given or any(entry not in names for entry in given):
        raise ValueError(f"is no mode; expected one or a list of {', '.join(names)}")
    modes = tuple(mode for mode in AuthMode if mode in given)
    if AuthMode.NONE in modes and len(modes) > 1:
        raise ValueError("would let everybody in, as 'none' is beside another mode; leave one of them out")
    return modes


AuthModes = Annotated[
    tuple[AuthMode, ...],
    BeforeValidator(_modes),
    PlainSerializer(lambda modes: modes[0].value if len(modes) == 1 else [mode.value for mode in modes]),
    WithJsonSchema(
        {
            "anyOf": [
                {"enum": [mode.value for mode in AuthMode]},
                {"type": "array", "items": {"enum": [mode.value for mode in AuthMode]}, "minItems": 1},
            ]
        }
    ),
]


class Section(BaseModel):
    """A group of keys: frozen, and without room for a key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Tls(Section):
    """TLS of the listener for alerts. The files are read again within 5 s of a change."""

    cert_file: Text | None = None
    """The gateway's certificate and those between it and its CA, in PEM."""
    key_file: Text | None = None
    """Its private key, in PEM, without a pass phrase."""
    client_ca_file: Text | None = None
    """CAs of the clients' certificates, in PEM; needed by `auth.mode: mtls`."""


class Server(Section):
    """The listeners, and how much they take at once."""

    host: Text = "127.0.0.1"
    """Address to listen on. Beyond loopback it needs an `auth.mode`, or `auth.allow_anonymous`."""
    port: Port = 8080
    """Port for alerts and for people; 0 lets the system choose one."""
    metrics_port: Port = 9090
    """Port of `/metrics`; apart from the first, so that neither load nor authentication keeps the metrics
    away.
    """
    max_body: Size = 16 * 1024 * 1024
    """A larger body is answered 413. Alertmanager sends some 575 bytes an alert, 1000 alerts in one body."""
    keepalive: PositiveDuration = 360.0
    """How long an idle connection stays; longer than the five minutes for which Alertmanager keeps one."""
    ack_wait: Duration = 0.25
    """How long an answer waits for new requests to exist, so that it can be 201 with their names."""
    request_timeout: PositiveDuration = 10.0
    """A request that takes longer is answered 503."""
    shutdown_timeout: PositiveDuration = 25.0
    """Time to finish what is under way after SIGTERM; below the 30 s that Kubernetes grants."""
    max_inflight_bytes: Size = 256 * 1024 * 1024
    """Bodies being worked on, together; past it the answer is 503."""
    max_requests: Positive = 1024
    """Webhooks worked on at once, their bodies read; past it the answer is 503."""
    max_connections: Positive = 2048
    """Open at once. The next one takes the place of the longest idle one, or of one whose headers take long; else the
    answer is 503. Never more than the process may open files for, less 256.
    """
    max_connections_per_source: Positive = 1024
    """The same for one address (of IPv6: one /64 network). Alertmanager has more than a hundred open at once; behind a
    proxy all senders have one address.
    """
    header_timeout: PositiveDuration = 10.0
    """From the first byte of a request to the end of its headers, and for the handshake of TLS; past it the connection
    is closed. The body has its time within `request_timeout`.
    """
    max_header_size: HeaderSize = 32 * 1024
    """Of a request's headers, with its first line; past it the answer is 431."""
    max_header_count: Positive = 64
    """More headers are answered 431."""
    tls: Tls = Tls()


class Jwt(Section):
    """Which signed tokens count: the gateway's own, an issuer's, or both."""

    key_file: Text | None = None
    """The gateway's own key, in PEM (Ed25519, EC P-256, RSA), or a secret of 32 bytes; read again within 5 s. The
    public part is enough to check tokens; several keys may stand in it, the first one signs.
    """
    issuer: Text | None = None
    """The claim `iss` of the issuer's tokens."""
    jwks_url: WebURL | None = None
    """Where the issuer's keys are; https, or http on loopback."""
    jwks_ca_file: Text | None = None
    """CAs of the server at `jwks_url`; by default the system's."""
    audience: Text = "alert-gateway"
    """The claim `aud` that a token must have."""
    algorithms: tuple[JwtAlgorithm, ...] = ("EdDSA", "ES256", "RS256")
    """How tokens may be signed. HS256 is for a key file with a shared secret only."""
    identity_claim: Text = "sub"
    """The claim of the issuer's tokens that names the sender."""
    leeway: Duration = 30.0
    """By how much the clock of who signs may differ."""
    max_lifetime: PositiveDuration = 366 * 86_400.0
    """A token that lives longer is refused."""
    revocations_file: Text | None = None
    """Where revoked tokens are kept beside Redis; by default `key_file` with `.revoked` behind it."""

    @property
    def revocations_path(self) -> str | None:
        """Where revoked tokens are kept, None where nothing says so."""
        return self.revocations_file or (f"{self.key_file}.revoked" if self.key_file else None)


class ReviewAccess(Section):
    """What the cluster's rules must let a sender do: a verb on a resource, or on a path."""

    verb: Text
    """Like create, or for a path like post."""
    path: Text | None = None
    """Of no resource, like /v1/webhooks/prometheus."""
    group: str = ""
    """API group of `resource`; empty is the core one."""
    resource: Text | None = None
    """Instead of `path`, like remediationrequests."""
    namespace: str = ""
    """Where the resource is; empty is all namespaces."""


class TokenReview(Section):
    """Which accounts of the cluster may post alerts."""

    audiences: tuple[Text, ...] = ()
    """A token must be for one of them; without any, for the API server."""
    names: tuple[Text, ...] = ()
    """Patterns with `*`, like system:serviceaccount:monitoring:*; without any, every account."""
    access: ReviewAccess | None = None
    """Asked of the cluster for each account (SubjectAccessReview)."""
    cache: PositiveDuration = 10.0
    """How long an answer of the cluster holds."""


CertificateName = Annotated[
    str,
    *_like(r"(dns|uri|email|cn):\S.*", "a name like dns:alertmanager.monitoring.svc, uri:…, email:… or cn:…"),
]


class Mtls(Section):
    """Which client certificates count."""

    names: tuple[CertificateName, ...] = ()
    """Patterns with `*`; the first that fits a name of the certificate gives the identity."""


class Auth(Section):
    """Who may post alerts."""

    mode: AuthModes = (AuthMode.NONE,)
    """One or a list of none, bearer, basic, jwt, tokenreview and mtls; with a list, any of them will do."""
    tokens_file: Text | None = None
    """File with one `name:token` a line; read again within 5 s of a change."""
    users_file: Text | None = None
    """File of htpasswd's form with bcrypt or argon2 hashes; read again within 5 s of a change."""
    jwt: Jwt = Jwt()
    tokenreview: TokenReview = TokenReview()
    mtls: Mtls = Mtls()
    allow_anonymous: Flag = False
    """Says that listening beyond loopback without authentication is meant."""


class PolicyRule(Section):
    """What becomes of the alerts that it matches."""

    matchers: Matchers
    action: Literal["allow", "deny"]
    """Whether they are taken."""
    reason: Reason = "policy_rule"
    """Why it is denied: a word for the answer, the log and the metric."""


class Policy(Section):
    """Which alerts are taken; the first rule that matches decides."""

    default: Literal["allow", "deny"] = "allow"
    """What becomes of alerts that no rule matches."""
    rules: tuple[PolicyRule, ...] = ()
    """Looked at in their order."""


class RateLimit(Section):
    """How much one sender may post. Past it the answer is 429, or 503 to Alertmanager, with `Retry-After`."""

    requests: Natural = 0
    """Webhooks within any `window`, over all replicas; 0 is no limit."""
    window: PositiveDuration = 60.0
    """How long a webhook counts: the window slides."""
    by: Literal["identity", "source", "namespace"] = "identity"
    """What is counted for itself: the identity (who has none: the address), the address of the peer, or each namespace
    that alerts of the webhook name; one that has had its share refuses the whole webhook.
    """


class DedupRule(Section):
    """How the alerts that it matches are told apart.

    Its matchers see the alert's own labels only: what a Namespace or a sender adds can change while the problem stays.
    """

    matchers: Matchers
    by: Literal["annotation", "resource", "labels"] | None = None
    """What to start with: the annotation `fingerprint`, the resource that the labels name, or all labels."""
    ignore: tuple[Text, ...] = ()
    """Labels that never count for these alerts."""


class Dedup(Section):
    """When two alerts are the same problem, and how its count is written."""

    terminal_phases: tuple[Text, ...] = ("Completed", "Failed", "Cancelled", "TimedOut", "Skipped")
    """Values of `status.overallPhase` that close a request."""
    exclude_labels: tuple[Text, ...] = ("prometheus", "prometheus_replica", "replica", "uid")
    """Labels that say who measured, and not what: they are no part of a fingerprint made of labels."""
    write_interval: PositiveDuration = 1.0
    """The shortest time between two writes to one request."""
    forget_after: Annotated[PositiveDuration, Field(ge=60)] = 3600.0
    """How long what is over stays known, so that nothing late is counted again: the marks of a deleted request in each
    replica's memory, and in Redis the record of an alert from its last occurrence on, and its window. Less takes less
    memory where requests come and go by the thousand; no sender may repeat a body for longer. At least a minute.
    """
    rules: tuple[DedupRule, ...] = ()
    """Come before the shipped ones; the first that matches decides."""


class PriorityRule(Section):
    """The priority of the alerts that it matches; `severity` is the label as it was sent."""

    matchers: Matchers
    priority: Literal["P0", "P1", "P2", "P3"]
    """P0 is the most urgent one."""


class Classify(Section):
    """What kind of problem an alert is."""

    environment_label: Text = "environment"
    """The label, of the alert and else of its Namespace, that names the environment."""
    priority: tuple[PriorityRule, ...] = ()
    """Come before the shipped ones; the first that matches decides."""


class StormRule(Section):
    """How the new alerts that it matches are held; what it leaves out, the section says. `severity` is the label as it
    was sent.
    """

    matchers: Matchers
    mode: Literal["hold", "immediate"] = "hold"
    """`immediate`: each gets a request of its own at once, and none makes a storm."""
    threshold: Positive | None = None
    """As `storm.threshold`."""
    hold: PositiveDuration | None = None
    """As `storm.hold`."""
    inactivity: PositiveDuration | None = None
    """As `storm.inactivity`."""
    max_window: PositiveDuration | None = None
    """As `storm.max_window`."""
    emit: Literal["on_close", "on_threshold"] | None = None
    """As `storm.emit`."""


class Storm(Section):
    """When many alerts become one request."""

    threshold: Positive = 3
    """Different fingerprints of one group that make a storm."""
    hold: PositiveDuration = 60.0
    """How long the first alerts of a group wait for company."""
    inactivity: PositiveDuration = 60.0
    """A storm is over this long after its last new alert."""
    max_window: PositiveDuration = 300.0
    """… and this long after its first one at the latest."""
    buffer_size: Positive = 100
    """Members that one key in Redis holds; more than `max_alerts` are never needed."""
    max_alerts: Annotated[int, Strict(), Field(ge=1, le=2000)] = 1000
    """Members of one aggregated request. It is one object, which in etcd ends at 1.5 MiB: 2000 members, counted by ten
    processes, take 1.2.
    """
    group_by: tuple[Text, ...] = ("namespace", "alertname")
    """Labels that make a group; `alertname` always counts."""
    emit: Literal["on_close", "on_threshold"] = "on_close"
    """Whether the aggregated request is written at the end, or at once and then updated."""
    rules: tuple[StormRule, ...] = ()
    """The first that matches decides, else the keys above."""

    def under(self, rule: StormRule) -> Storm:
        """Return the section as it is for the alerts of `rule`."""
        own = {name: value for name, value in rule if name in Storm.model_fields and value is not None}
        return self.model_copy(update=own)


class RedisTLS(Section):
    """How a `rediss` URL is spoken to: to Redis, and to the Sentinels."""

    ca_file: Text | None = None
    """PEM of who signed the server's certificate, beside those that the system trusts."""
    cert_file: Text | None = None
    """PEM of the client's own certificate, where the server asks for one; `key_file` goes with it."""
    key_file: Text | None = None
    """PEM of its private key, without a pass phrase."""
    insecure: Flag = False
    """Take any certificate: for tests, since whoever is in between can read and change everything."""


class RedisSentinel(Section):
    """How the Sentinels know the gateway, where they ask: they have users and passwords of their own."""

    username_file: Text | None = None
    """A user of the Sentinels; without one, the default user."""
    password_file: Text | None = None
    """Its password; read for every new connection."""


class Redis(Section):
    """The store of what should exist."""

    url: RedisURL = "redis://localhost:6379/0"
    """A server, a socket, Sentinels with the name of their master, or nodes of a cluster."""
    username_file: Text | None = None
    """Comes before the URL's. Read for every new connection, so a changed one is taken without a restart."""
    password_file: Text | None = None
    """As `username_file`."""
    tls: RedisTLS = RedisTLS()
    sentinel: RedisSentinel = RedisSentinel()
    timeout: PositiveDuration = 0.01
    """For one call; past it the alert goes the direct way to Kubernetes."""
    pool_size: Positive = 32
    """Most connections to one server."""
    shards: Annotated[int, Strict(), Field(ge=1, le=1024)] = 1
    """Hash tags over which the keys are spread: 16 for a cluster. All replicas must agree."""
    prefix: str = "gw:"
    """Before every key but the buffers'."""
    buffer_prefix: str = ""
    """Before the buffers' keys."""


class Kubernetes(Section):
    """The cluster that holds the requests."""

    kubeconfig: Text | None = None
    """Without one: the pod's own account, else `KUBECONFIG` or `~/.kube/config`."""
    context: Text | None = None
    """A context of the kubeconfig; without one, its current one."""
    namespaces: tuple[Namespace, ...] = ()
    """Namespaces to watch; empty is all of them."""
    concurrency: Positive = 32
    """Writes under way at once."""
    fallback_namespace: Namespace = "kubernaut-system"
    """Takes the requests whose alert names no namespace, or one that does not exist."""
    events: Flag = True
    """Writes what becomes of requests as Kubernetes events, which `kubectl describe rr` shows; at most ten a second.
    Without the permission to create events it writes none.
    """


class RedisBreaker(Section):
    """When Redis counts as broken."""

    failure_rate: Share = 0.05
    """Share of the calls within `window` that fail."""
    window: PositiveDuration = 10.0
    """How far back calls count."""
    min_calls: Positive = 5
    """Calls within `window` without which nothing is judged."""
    open_for: PositiveDuration = 2.0
    """How long it is left alone before it is probed."""


class KubernetesBreaker(Section):
    """When the Kubernetes API counts as broken."""

    consecutive_429: Positive = 10
    """Answers of 429 in a row."""
    failure_rate: Share = 0.5
    """Share of the calls that fail."""
    open_for: PositiveDuration = 5.0
    """How long it is left alone before it is probed."""


class Breakers(Section):
    """When a dependency is left alone for a while."""

    redis: RedisBreaker = RedisBreaker()
    kubernetes: KubernetesBreaker = KubernetesBreaker()


class Queue(Section):
    """What is still to be written to Kubernetes."""

    max_depth: Positive = 1000
    """Requests waiting; from here on new alerts are refused, while writes fail."""
    lease: PositiveDuration = 15.0
    """How long a replica keeps what it claimed; another takes over after that."""


class Unconfirmed(Section):
    """Alerts that were accepted and are in no stored request yet."""

    max: Positive = 50_000
    """Kept in memory; past it the answer is 503."""


class Journal(Section):
    """A local file of accepted alerts, which survives the loss of this process and Redis together."""

    path: Text | None = None
    """A file in a folder that exists, for this process alone; without one, no journal."""
    max_size: Size = 256 << 20
    """For the file and the one that replaces it; past it alerts are kept without the journal."""


class Record(Section):
    """A file of the webhooks as they came, to play again."""

    path: Text | None = None
    """Compressed if it ends in .gz; continued if it exists."""
    max_size: Size = 1 << 30
    """Bytes; past it the file becomes the older one of two, and a new one begins."""


class Chaos(Section):
    """Faults on purpose, for rehearsals."""

    enabled: Flag = False
    """Serves `/v1/admin/chaos`, where faults are injected; `/readyz` warns of it."""
    admins: tuple[Text, ...] = ("admin",)
    """Identities that may; all others are answered 403. With `auth.mode: none`, which is for loopback only then,
    whoever reaches the port may.
    """


class Log(Section):
    """What is logged."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important level that is written."""
    format: Literal["json", "text"] = "json"
    """JSON, one object a line, or text for people."""


class Tracing(Section):
    """Where spans go."""

    endpoint: CollectorURL | None = None
    """Base URL of a collector that takes OTLP over HTTP, like http://collector:4318; without one, nothing is traced."""
    sample: Share = 1.0
    """Share of the webhooks that are traced, where the sender's `traceparent` does not decide. A traced one costs some
    0.2 ms.
    """


class Settings(Section):
    """The whole configuration of one gateway."""

    server: Server = Server()
    auth: Auth = Auth()
    policy: Policy = Policy()
    rate_limit: RateLimit = RateLimit()
    dedup: Dedup = Dedup()
    classify: Classify = Classify()
    storm: Storm = Storm()
    redis: Redis = Redis()
    kubernetes: Kubernetes = Kubernetes()
    breakers: Breakers = Breakers()
    queue: Queue = Queue()
    unconfirmed: Unconfirmed = Unconfirmed()
    journal: Journal = Journal()
    record: Record = Record()
    chaos: Chaos = Chaos()
    log: Log = Log()
    tracing: Tracing = Tracing()

    @staticmethod
    def load(path: Path | None, environ: Mapping[str, str], sets: Sequence[str] = ()) -> Settings:
        """Read the layers of a configuration; see `loading.load`."""
        from gateway.config.loading import load  # noqa: PLC0415 - `loading` builds these: above, it is a circle

        return load(path, environ, sets)

    @property
    def anonymous_beyond_loopback(self) -> bool:
        """True where anybody who reaches the port may post alerts; `/readyz` warns of it."""
        return self.auth.mode == (AuthMode.NONE,) and not is_loopback(self.server.host)


def is_loopback(host: str) -> bool:
    """Say whether only this machine reaches `host`. A name other than localhost counts as reachable."""
    if host.lower() == "localhost":
        return True
    try:
        address = ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
