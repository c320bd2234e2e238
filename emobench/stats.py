"""Scores with intervals that respect what the samples share."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy.stats import t as student_t

from emobench.types import DEGENERATE, Score, Verdict

CONFIDENCE = 0.95


def expression(verdicts: Sequence[Verdict], targets: Sequence[str], clusters: Sequence[str]) -> Score:
    """Expression accuracy: the share of replies whose verdict is their target.

    A degenerate reply counts as not expressed. A reply that is unscored for another reason (a judge that cannot be
    reached, say) is left out and counted in ``unscored``.
    """
    kept = [i for i, v in enumerate(verdicts) if v.unscored in (None, DEGENERATE)]
    value, low, high = clustered_share([verdicts[i].label == targets[i] for i in kept], [clusters[i] for i in kept])
    return Score(
        value=value,
        low=low,
        high=high,
        n=len(kept),
        unscored=len(verdicts) - len(kept),
        degenerate=sum(v.unscored == DEGENERATE for v in verdicts),
    )


def clustered_share(
    outcomes: Sequence[bool], clusters: Sequence[str]
) -> tuple[float | None, float | None, float | None]:
    """A share and its 95 % interval when outcomes within a cluster (a scenario) are alike.

    Wilson's interval at the effective sample size n / deff, with Student's t on G − 1 degrees of freedom, where deff
    is the linearised variance of the share over G clusters divided by the variance of independent outcomes (Korn and
    Graubard 1998; Dean and Pagano 2015). Where the outcomes do not vary, clustering cannot be estimated, and each
    cluster counts as one observation: the widest reading of the data.

    Returns:
        (share, low, high), each in [0, 1]; all None without outcomes, no interval with a single cluster.
    """
    n = len(outcomes)
    if n == 0:
        return None, None, None
    hits: dict[str, list[bool]] = {}
    for outcome, cluster in zip(outcomes, clusters, strict=True):
        hits.setdefault(cluster, []).append(outcome)
    groups, share = len(hits), sum(outcomes) / n
    if groups < 2:
        return share, None, None
    if 0 < share < 1:
        residuals = np.array([sum(cluster) - share * len(cluster) for cluster in hits.values()])
        variance = groups / (groups - 1) * float(residuals @ residuals) / n**2
        effective = min(share * (1 - share) / variance, n) if variance > 0 else n
    else:
        effective = groups
    quantile = float(student_t.ppf((1 + CONFIDENCE) / 2, groups - 1))
    shrink = 1 + quantile**2 / effective
    centre = (share + quantile**2 / (2 * effective)) / shrink
    half = quantile / shrink * math.sqrt(share * (1 - share) / effective + quantile**2 / (4 * effective**2))
    return share, max(centre - half, 0.0), min(centre + half, 1.0)
