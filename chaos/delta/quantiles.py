"""Quantiles of a histogram's buckets, interpolated as Prometheus' `histogram_quantile` does for classic histograms.

The rules are those of `bucketQuantile` in Prometheus (`promql/quantile.go`): within a bucket the observations are taken
to lie evenly; the lowest bucket begins at 0 where its bound is positive; what lies in the bucket without a bound is
answered with the highest bound there is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping


def histogram_quantile(share: float, buckets: Mapping[float, float]) -> float:
    """The value that `share` (0 to 1) of the observations do not exceed.

    `buckets` are upper bound → how many observations are at or below it, `math.inf` among them. NaN where nothing was
    observed or the buckets are none; counts that fall, as scrapes in mid-air may have them, are lifted to those below.
    """
    bounds = sorted(buckets)
    if len(bounds) < 2 or not math.isinf(bounds[-1]) or math.isnan(share):
        return math.nan
    counts: list[float] = []
    for bound in bounds:
        counts.append(max(buckets[bound], counts[-1] if counts else 0.0))
    if counts[-1] <= 0:
        return math.nan
    if not 0 <= share <= 1:
        return math.copysign(math.inf, share)
    rank = share * counts[-1]
    place = next(number for number, count in enumerate(counts) if count >= rank)
    if place == len(bounds) - 1:
        return bounds[-2]
    if place == 0 and bounds[0] <= 0:
        return bounds[0]
    below, floor = (counts[place - 1], bounds[place - 1]) if place else (0.0, 0.0)
    inside = counts[place] - below
    return floor if inside <= 0 else floor + (bounds[place] - floor) * ((rank - below) / inside)
