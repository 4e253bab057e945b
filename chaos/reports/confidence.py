"""How much a campaign says about alerts that it did not send: a bound, from what was measured and nothing else.

Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial" (1934): after
`failures` in `trials` the share is below the bound, with the given confidence, as far as each trial is a draw of its
own. Alerts of one outage are not quite that, so the report calls it what it is.
"""

from __future__ import annotations

import math


def upper_bound(failures: int, trials: int, confidence: float = 0.95) -> float:
    """The one-sided upper bound of the share of failures. Raises `ValueError` without trials."""
    if not 0 <= failures <= trials or trials == 0:
        raise ValueError(f"{failures} failures in {trials} trials")
    if failures == trials:
        return 1.0
    low, high = failures / trials, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if _at_most(failures, trials, middle) > 1 - confidence:
            low = middle
        else:
            high = middle
    return high


def _at_most(failures: int, trials: int, share: float) -> float:
    """The probability of at most so many failures; by logarithms, as the factorials are large."""
    return sum(
        math.exp(
            math.lgamma(trials + 1)
            - math.lgamma(number + 1)
            - math.lgamma(trials - number + 1)
            + number * math.log(share)
            + (trials - number) * math.log1p(-share)
        )
        for number in range(failures + 1)
    )
