"""When a sender tries again, and after which pause: as Alertmanager does, `group_interval` included."""

from __future__ import annotations

FIRST_PAUSE = 0.5
GROWTH = 1.5
LONGEST_PAUSE = 60.0


def is_final(status: int) -> bool:
    """Whether nobody sends again what was answered so. 5xx is sent again, and 0, no answer; any 4xx, 429 as well,
    makes Alertmanager give up at once.
    """
    return 0 < status < 500


def pause(number: int, part: float, left: float) -> float | None:
    """Seconds from attempt `number` (from 1 on) to the next; None where the delivery is to be given up now.

    `part`: of the usual pause, 0.5 to 1.5 by chance. `left`: seconds until the delivery is given up, which no pause
    passes.
    """
    seconds = min(FIRST_PAUSE * GROWTH ** (number - 1), LONGEST_PAUSE) * part
    return seconds if seconds <= left else None
