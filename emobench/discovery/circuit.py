"""Stage 8: share a budget of components among the layers and take the top-ranked ones of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from torch import Tensor

from emobench.sites import Sites

PUBLISHED_BUDGET, PUBLISHED_COMPONENTS = 560, 28 * (8192 + 24)
"""K of the paper and the number of neurons and heads of its model, Llama-3.2-3B."""
NEURON_SHARE = 0.7
FIRST_NEURONS, FIRST_HEADS = 4, 2
CAP = 0.4


@dataclass(frozen=True)
class Budget:
    """How many neurons and heads a circuit may hold."""

    neurons: int
    heads: int

    @classmethod
    def of(cls, total: int) -> Budget:
        """Split K by 0.7 : 0.3, as the paper does."""
        neurons = round(NEURON_SHARE * total)
        return cls(neurons, total - neurons)


def default_budget(sites: Sites) -> int:
    """K scaled with the model's number of components, but no less than gives every layer its first share."""
    components = sites.n_layers * (sites.d_mlp + sites.n_heads)
    scaled = round(PUBLISHED_BUDGET * components / PUBLISHED_COMPONENTS)
    return max(scaled, round(sites.n_layers * FIRST_NEURONS / NEURON_SHARE))


def allocate(budget: int, importance: Sequence[float], available: int, first: int) -> list[int]:
    """How many components of one kind each layer contributes.

    Every layer gets ``first`` (or 1, or 0, where the budget is short of that); the rest is shared by
    w = max(importance, 0): floor, cap at floor(0.4 · budget), then largest remainder. Layers with fewer candidates
    than their quota hand the difference to the others, larger quota first.

    Args:
        budget: components to share.
        importance: one a layer; uniform where none is positive.
        available: candidates in each layer.
        first: what each layer gets before the sharing.
    """
    layers = len(importance)
    weights = np.maximum(np.asarray(importance, dtype=np.float64), 0)
    weights = weights / weights.sum() if weights.sum() > 0 else np.full(layers, 1 / layers)
    base = next(share for share in (first, 1, 0) if share * layers <= budget)
    cap = int(CAP * budget)
    rest = budget - base * layers
    shares = rest * weights
    extra = np.minimum(np.floor(shares).astype(int), max(cap - base, 0))
    by_remainder = np.argsort(-(shares - np.floor(shares)), kind="stable")
    while extra.sum() < rest and (open_ := [i for i in by_remainder if base + extra[i] < max(cap, base + 1)]):
        for layer in open_[: rest - int(extra.sum())]:
            extra[layer] += 1
    plan = base + extra
    deficit = int(np.maximum(plan - available, 0).sum())
    used = np.minimum(plan, available)
    for layer in np.argsort(-plan, kind="stable"):
        taken = min(deficit, available - used[layer])
        used[layer] += taken
        deficit -= taken
    return used.tolist()


def select(
    ranks: Float[Tensor, "layer component"], importance: Sequence[float], budget: int, first: int
) -> list[list[int]]:
    """The components of a circuit of one kind, layer by layer, best first (ties: lower index first)."""
    counts = allocate(budget, importance, ranks.shape[1], first)
    order = ranks.argsort(dim=1, descending=True, stable=True)
    return [order[layer, :count].tolist() for layer, count in enumerate(counts)]
