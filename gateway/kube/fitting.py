"""Brings an alert's labels and annotations into what etcd stores for one object (1.5 MiB).

The size that counts is that of the stored form: the API server writes `<`, `>` and `&` as six bytes, as it
does control characters, and repeats every key in `managedFields`. So an alert within the gateway's own limit
of 512 KiB can still outgrow etcd sixfold. The budget is shared fairly: short values stay whole, long ones are
cut to what an equal share leaves them, and an end mark says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import msgspec

LONGEST_PAYLOAD = 64 * 1024
"""Bytes of an alert's own JSON that are kept as `originalPayload`; a longer one is left out whole."""
BUDGET = 448 * 1024
"""Stored bytes for the labels, and as many for the annotations. With the payload in base64, the marks (256
KiB at most) and the rest, an object stays below etcd's limit."""
ESSENTIAL = frozenset({"alertname", "namespace"})
"""Labels that are kept however many others there are."""
CUT = "…"

_CUT_COST = len(CUT.encode())


@dataclass(frozen=True, slots=True)
class Fitted:
    labels: dict[str, str]
    annotations: dict[str, str]
    trimmed: bool


def fit(labels: Mapping[str, str], annotations: Mapping[str, str], budget: int = BUDGET) -> Fitted:
    """Each of both within `budget` stored bytes; text must be encodable as UTF-8."""
    fitted_labels, labels_cut = _fit(labels, budget)
    fitted_annotations, annotations_cut = _fit(annotations, budget)
    return Fitted(fitted_labels, fitted_annotations, labels_cut or annotations_cut)


def stored_size(text: str) -> int:
    """Bytes of `text` as a JSON string in etcd, without its quotes."""
    escaped = sum(map(text.count, "<>&")) * 5 + sum(map(text.count, "\u2028\u2029")) * 3
    return len(msgspec.json.encode(text)) - 2 + escaped


def cut(text: str, room: int) -> str:
    """The longest beginning that is stored in `room` bytes, the end mark included; whole if it fits."""
    if stored_size(text) <= room:
        return text
    # A text that was cut before ends in one mark, not in two.
    return _beginning(text.removesuffix(CUT), max(room - _CUT_COST, 0)) + CUT


def _fit(texts: Mapping[str, str], budget: int) -> tuple[dict[str, str], bool]:
    # No character's stored form is longer than 6 bytes, and a key is stored twice.
    if 12 * (sum(len(key) + len(value) for key, value in texts.items()) + 8 * len(texts)) <= budget:
        return dict(texts), False
    # Shortest first: what an entry does not need of its share, the longer ones behind it get.
    weighed = sorted(
        (key not in ESSENTIAL, _weight(key) + stored_size(value), key) for key, value in texts.items()
    )
    kept: dict[str, str] = {}
    trimmed = False
    for behind, (ordinary, weight, key) in zip(range(len(weighed), 0, -1), weighed, strict=True):
        share = budget // (behind if ordinary else 2)
        if weight <= share:
            kept[key] = texts[key]
            budget -= weight
            continue
        trimmed = True
        room = share - _weight(key)
        if room >= _CUT_COST:
            kept[key] = cut(texts[key], room)
            budget -= _weight(key) + stored_size(kept[key])
    return {key: kept[key] for key in texts if key in kept}, trimmed


def _weight(key: str) -> int:
    """What an entry costs besides its value: quotes, colon and comma, and the key again in
    `managedFields`."""
    return 2 * stored_size(key) + 16


def _beginning(text: str, room: int) -> str:
    """The longest beginning that is stored in `room` bytes."""
    low, high = 0, min(len(text), room)
    while low < high:
        middle = (low + high + 1) // 2
        if stored_size(text[:middle]) <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low]
