"""What looks like a secret is taken out of a text before it is logged.

Alerts carry what people put into labels and annotations, and errors of the API repeat it: connection strings, tokens
that a failing job printed, keys. A secret without a form, like a word that is somebody's password, is found only by
the name before it. Better a harmless word too many is hidden than a secret is shown.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

HIDDEN: Final = "***"
SHORT: Final = 128
"""Characters; the outcome for so short a text is remembered."""

_NAMES: Final = (
    r"pass(?:word|wd|phrase)?|pwd|secret(?:[-_.]?(?:access[-_.]?)?key)?|token|cookie|authorization|credential"
    r"|(?:api|access|account|private|signing|encryption|master|shared)[-_.]?key|x-amz-signature|\bsig(?:nature)?"
)
_VALUE: Final = r""""(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|\\"[^"]*"?|[^\s,;&"'\\\])}>]+"""
_BETWEEN: Final = (
    r"""s?["'\])\\]{0,4}\s{0,4}(?::=|=>|=~|[:=])\s{0,4}(?:invalid value:\s?)?"""
    r"(?:(?:bearer|basic|digest|negotiate)\s+)?"
)
"""From a name to its value: quotes and brackets after the one, what the API says before the other, a scheme."""
_SECRET: Final = re.compile(
    "|".join(
        (
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)",
            # user:password in a URL
            r"(?P<user>://[^\s/?#@:]*:)[^\s/?#]*(?=@)",
            # password=x, "token": "x", Authorization: Bearer x, labels[password]: Invalid value: "x"
            rf"(?P<name>(?i:(?:{_NAMES}){_BETWEEN}))(?:{_VALUE})",
            r"(?P<scheme>\b(?i:bearer|basic|negotiate)\s+)[A-Za-z0-9._~+/=-]{6,}",
            # Base64 of `{"`: the head of every signed or encrypted token.
            r"\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,4}",
            # What the issuers of keys put first, so that they are found in logs.
            r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{12,}",
            r"\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|npm_|hvs\.|sk-|[sr]k_live_|[sr]k_test_|AIza|SG\.)[\w.-]{16,}",
        )
    ),
    re.DOTALL,
)
_SECRET_NAME: Final = re.compile(rf"(?i:(?:{_NAMES})s?)\Z")


def redacted(text: str) -> str:
    """The text with `HIDDEN` in the place of each secret; what says which one it was stays. Takes linear time."""
    return _redacted_before(text) if len(text) <= SHORT else _redacted(text)


def is_secret(name: str) -> bool:
    """Whether what stands under this name is not to be shown, whatever it looks like."""
    return _judged_before(name) if len(name) <= SHORT else _names_secret(name)


def _redacted(text: str) -> str:
    return _SECRET.sub(_hidden, text)


def _names_secret(name: str) -> bool:
    return _SECRET_NAME.search(name) is not None


# What is short is often said again: the names and sentences of this program, above all. What is long is not kept.
_redacted_before = lru_cache(maxsize=256)(_redacted)
_judged_before = lru_cache(maxsize=256)(_names_secret)


def _hidden(found: re.Match[str]) -> str:
    return (found["user"] or found["name"] or found["scheme"] or "") + HIDDEN
