"""Stages 2, 5 and 6: emotion directions, difference vectors and σ, from one streamed pass over the groups.

With h[g,e] an activation at the last token of group g's elicitation prompt for emotion e:

    δ[g,e] = h[g,e] − mean_e h[g,·]        what the emotion adds, the context taken out
    c[e]   = mean_g δ[g,e]                 the difference vector (at z and a: stage 5)
    v[e]   = normalise(c[e] − mean_e c)    the direction (at resid_mid and resid_post: stage 2)

Difference from the public code: it groups z and a by scenario alone, so that a scenario's last valence overwrites the
other two; here every (scenario, valence) is a group.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from emobench import intervene
from emobench.models import Model
from emobench.prompts import elicitation_messages
from emobench.types import EMOTIONS, Sample, Site

RECORDED: tuple[Site, ...] = ("z", "resid_mid", "a", "resid_post")
RESIDUAL: tuple[Site, ...] = ("resid_mid", "resid_post")


@dataclass(frozen=True, eq=False)
class Means:
    """Means over the groups, float64 on the CPU; emotions in the order of `EMOTIONS`."""

    activation: dict[Site, Float64[Tensor, "emotion layer width"]]
    rms: dict[Site, Float64[Tensor, " layer"]]
    n_groups: int

    def difference(self, site: Site) -> Float64[Tensor, "emotion layer width"]:
        """c[e]: mean over groups of what the emotion adds. The mean over groups of δ is δ of the means."""
        mean = self.activation[site]
        return mean - mean.mean(0)

    def direction(self, site: Site) -> Float64[Tensor, "emotion layer width"]:
        """v[e]: the difference vectors, centred over emotions and scaled to unit length."""
        centred = self.difference(site)
        return centred / centred.norm(dim=-1, keepdim=True)


def groups_of(samples: Sequence[Sample]) -> list[list[Sample]]:
    """The samples by (scenario, valence), each group in the order of `EMOTIONS`."""
    groups: dict[tuple[str, str], dict[str, Sample]] = {}
    for sample in samples:
        groups.setdefault((sample.skeleton_id, sample.valence), {})[sample.target] = sample
    return [[group[emotion] for emotion in EMOTIONS] for group in groups.values()]


def elicitation_batches(
    model: Model, groups: Sequence[Sequence[Sample]], batch_groups: int
) -> Iterator[tuple[int, intervene.Inputs]]:
    """The elicitation prompts as batches of (number of groups, inputs), group by group, each in emotion order.

    A batch holds groups of one length only: without padding the attention kernels round as they do for a prompt on its
    own, which keeps small differences between emotions exact (1e-7 of the largest direction value, not 5e-5).
    """
    prompts = [[model.render(elicitation_messages(sample)) for sample in group] for group in groups]
    by_length: dict[int, list[list[str]]] = {}
    for group in prompts:
        by_length.setdefault(max(len(model.tokens(prompt)) for prompt in group), []).append(group)
    for _, same in sorted(by_length.items()):
        for start in range(0, len(same), batch_groups):
            batch = same[start : start + batch_groups]
            yield len(batch), model.encode([prompt for group in batch for prompt in group])


def mean_activations(
    model: Model, groups: Sequence[Sequence[Sample]], batch_groups: int, on_groups: Callable[[int], None]
) -> Means:
    """One pass over the groups; running sums in float64, so memory does not grow with the data."""
    total: dict[Site, Tensor] = {}
    rms: dict[Site, Tensor] = {}
    for count, inputs in elicitation_batches(model, groups, batch_groups):
        for site, values in intervene.record(model, inputs, RECORDED).items():
            values = values.cpu().double()  # MPS has no float64
            by_emotion = values.unflatten(0, (count, len(EMOTIONS))).sum(0)
            total[site] = total.get(site, 0) + by_emotion
            if site in RESIDUAL:
                rms[site] = rms.get(site, 0) + values.pow(2).mean(-1).sqrt().sum(0)
        on_groups(count)
    n = len(groups)
    return Means(
        activation={site: value / n for site, value in total.items()},
        rms={site: value / (n * len(EMOTIONS)) for site, value in rms.items()},
        n_groups=n,
    )
