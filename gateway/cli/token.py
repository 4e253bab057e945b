"""`gateway token`: issue, revoke and list the gateway's own signed tokens."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.cli import arguments, output
from gateway.cli.output import CommandError, Exit

if TYPE_CHECKING:
    from gateway.config.settings import Settings
    from gateway.state.tokens import TokenHashes

EXAMPLES = """\
examples:
  gateway token issue alertmanager --ttl 90d > token   for the receiver's credentials_file
  gateway token list
  gateway token revoke 5f0c…                           by its id (see list)
  gateway token revoke - < token                       … or by the token itself, an issuer's, too

The key is a file of the configuration (auth.jwt.key_file): openssl genpkey -algorithm ed25519 -out token.key
A token says itself who it is and until when, so a gateway needs nothing but the key to check it. Revoking one writes
to Redis, which every gateway reads every two seconds, and to auth.jwt.revocations_file. Issuing is noted in Redis for
`list` and for the metric; a token counts without that, too.
"""


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    parser = commands.add_parser(
        "token",
        help="issue, revoke or list signed tokens",
        description="Issue, revoke or list the signed tokens of auth.mode jwt.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    issue = actions.add_parser("issue", help="print a new token", description="Print a new token.")
    issue.add_argument("name", help="whom it names: the identity in policy, limits and logs")
    issue.add_argument(
        "--ttl", type=arguments.duration, default=90 * 86_400.0, help="how long it counts (default: 90d)"
    )
    issue.set_defaults(run=run_issue)
    revoke = actions.add_parser(
        "revoke", help="let tokens count no more", description="Let tokens count no more."
    )
    revoke.add_argument(
        "tokens", nargs="+", metavar="TOKEN", help="an id, a whole token, or - for standard input"
    )
    revoke.set_defaults(run=run_revoke)
    listing = actions.add_parser("list", help="list what was issued or revoked", description="List tokens.")
    listing.set_defaults(run=run_list)
    for action in (issue, revoke, listing):
        arguments.add_config_options(action)
        output.add_output_option(action)


def run_issue(args: argparse.Namespace) -> Exit:
    """Sign a token and note it in Redis."""
    settings = arguments.load_settings(args)
    return asyncio.run(_issue(args, settings))


async def _issue(args: argparse.Namespace, settings: Settings) -> Exit:
    import jwt

    from gateway.errors import StoreError
    from gateway.web.auth.jwt import OWN_ISSUER
    from gateway.web.auth.making import own_keys

    rules = settings.auth.jwt
    if rules.key_file is None:
        raise CommandError(
            "no key to sign with", hint="Set auth.jwt.key_file; `gateway token --help` makes one."
        )
    key = own_keys(rules, time.monotonic).content().signing
    if key is None:
        raise CommandError(f"{rules.key_file} begins with a public key, which cannot sign")
    if not args.name.isprintable() or not 0 < len(args.name) <= 256:
        raise CommandError("the name must be of 1 to 256 printable characters")
    if not 0 < args.ttl <= rules.max_lifetime:
        raise CommandError("the token would be refused: --ttl is 0, or longer than auth.jwt.max_lifetime")
    now, one = int(time.time()), uuid.uuid4().hex
    claims = {
        "iss": OWN_ISSUER,
        "sub": args.name,
        "aud": rules.audience,
        "iat": now,
        "exp": now + int(args.ttl),
        "jti": one,
    }
    token = jwt.encode(claims, key.key, algorithm=key.algorithm, headers={"kid": key.kid})
    try:
        async with _register(settings) as register:
            text = f"{claims['exp']} {now} {args.name}"
            await register.note_issued({one: text}, until=float(claims["exp"]))
    except StoreError as reason:
        output.warn(f"the token counts, but `gateway token list` will not show it: Redis: {reason}")
    if args.output == "json":
        output.print_json({"id": one, "name": args.name, "expires": _time(claims["exp"]), "token": token})
    else:
        print(f"gateway: token {one} of {args.name}, until {_time(claims['exp'])}", file=sys.stderr)
        output.say(token)
    return Exit.OK


def run_revoke(args: argparse.Namespace) -> Exit:
    """Put tokens on the list of those that do not count; 3 where neither Redis nor the file could take them."""
    settings = arguments.load_settings(args)
    return asyncio.run(_revoke(args, settings))


async def _revoke(args: argparse.Namespace, settings: Settings) -> Exit:
    from gateway.errors import StoreError
    from gateway.web.auth.revocations import UnreadableListError, add_to_file, entry

    given = [word for text in args.tokens for word in (sys.stdin.read().split() if text == "-" else [text])]
    now = time.time()
    longest = now + settings.auth.jwt.max_lifetime + settings.auth.jwt.leeway
    entries = {
        one: entry(expires or longest, now) for one, expires in (_named(text, settings) for text in given)
    }
    if not entries:
        raise CommandError("no token given")
    path = settings.auth.jwt.revocations_path
    took: list[str] = []
    missed: list[str] = []
    try:
        async with _register(settings) as register:
            await register.revoke(entries, until=longest)
        took.append("Redis")
    except StoreError as reason:
        missed.append(f"Redis: {reason}")
    if path is not None:
        try:
            await asyncio.to_thread(add_to_file, Path(path), entries)
            took.append(path)
        except (OSError, UnreadableListError) as reason:
            missed.append(f"{path}: {reason}")
    if not took:
        raise CommandError("; ".join(missed), hint="Nothing was revoked.", exit_code=Exit.UNREACHABLE)
    for what in missed:
        output.warn(f"revoked in {took[0]} only: {what}")
    if args.output == "json":
        output.print_json({"revoked": sorted(entries), "in": took})
    else:
        output.say(f"{output.counted(len(entries), 'token')} revoked in {' and '.join(took)}.")
    return Exit.OK


def _named(text: str, settings: Settings) -> tuple[str, float | None]:
    """The id under which a token is revoked, and when it expires, where that can be told.

    Of a token that this gateway signed it is its `jti`. Of any other one it is the hash: whoever made it could have
    written somebody else's `jti` into it.
    """
    import jwt

    from gateway.web.auth.jwt import ids, is_id

    if text.count(".") != 2:
        if not is_id(text):
            raise CommandError(f"{text[:40]!r} is neither a token nor the id of one")
        return text, None
    try:
        claims = jwt.decode(text, options={"verify_signature": False})
    except jwt.PyJWTError as reason:
        raise CommandError(f"{text[:12]}… is no token: {reason}") from None
    expires = claims.get("exp")
    until = float(expires) if isinstance(expires, int | float) else None
    return ids(text, claims if _is_own(text, settings) else {})[0], until


def _is_own(text: str, settings: Settings) -> bool:
    import jwt

    from gateway.web.auth.making import own_keys

    if settings.auth.jwt.key_file is None:
        return False
    key = (
        own_keys(settings.auth.jwt, time.monotonic)
        .content()
        .verifying.get(jwt.get_unverified_header(text).get("kid", ""))
    )
    if key is None:
        return False
    options: Any = {"verify_exp": False, "verify_aud": False, "verify_nbf": False, "verify_iat": False}
    try:
        jwt.decode(text, key.key, algorithms=sorted(key.algorithms), options=options)
    except jwt.PyJWTError:
        return False
    return True


def run_list(args: argparse.Namespace) -> Exit:
    """List what was issued and what is revoked, as Redis knows it."""
    settings = arguments.load_settings(args)
    return asyncio.run(_list(args, settings))


async def _list(args: argparse.Namespace, settings: Settings) -> Exit:
    async with _register(settings) as register:
        issued, revoked = await register.issued(), await register.revoked()
    rows = [_row(one, issued.get(one), one in revoked) for one in {**issued, **revoked}]
    rows.sort(key=lambda row: (row["name"], row["expires"]))
    if args.output == "json":
        output.print_json(rows)
    elif rows:
        columns = ("id", "name", "issued", "expires", "state")
        output.table(columns, [[row[column] for column in columns] for row in rows])
    else:
        output.say("No tokens.")
    return Exit.OK


def _row(one: str, text: str | None, revoked: bool) -> dict[str, Any]:  # noqa: FBT001 - private
    from gateway.web.auth.revocations import ISSUED

    found = ISSUED.fullmatch(text or "")
    row = {
        "id": one,
        "name": "",
        "issued": "",
        "expires": "",
        "state": "revoked" if revoked else "unreadable",
    }
    if found is None:
        return row
    expired = int(found[1]) <= time.time()
    state = "revoked" if revoked else "expired" if expired else "valid"
    return {**row, "name": found[3], "issued": _time(found[2]), "expires": _time(found[1]), "state": state}


@asynccontextmanager
async def _register(settings: Settings) -> AsyncIterator[TokenHashes]:
    from gateway.state.client import Client
    from gateway.state.tokens import TokenHashes

    client = Client(settings.redis.url, timeout=2.0, pool_size=1)
    try:
        yield TokenHashes(client, settings.redis.prefix)
    finally:
        await client.close()


def _time(seconds: str | int) -> str:
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return "?"
