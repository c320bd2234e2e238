"""Stages 3 and 4: how much each neuron and each attention head writes along an emotion's direction."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from emobench import intervene
from emobench.discovery.directions import Means, elicitation_batches
from emobench.models import Model
from emobench.sites import weight
from emobench.types import EMOTIONS, Sample


def neuron_contributions(model: Model, means: Means) -> Float64[Tensor, "emotion layer d_mlp"]:
    """Stage 3: mean over the emotion's samples of a[n] · β[n], with β = W_downᵀ v at resid_post.

    β does not depend on the sample, so the mean of the product is the product with the mean of a.
    """
    v, a = means.direction("resid_post"), means.activation["a"]
    beta = torch.stack(
        [
            v[:, layer] @ weight(model.sites.down_proj(layer)).detach().cpu().double()
            for layer in range(model.sites.n_layers)
        ],
        dim=1,
    )
    return a * beta


def head_importances(
    model: Model,
    groups: Sequence[Sequence[Sample]],
    directions: Float64[Tensor, "emotion layer d_model"],
    batch_groups: int,
    on_groups: Callable[[int], None],
) -> Float64[Tensor, "emotion layer head"]:
    """Stage 4 in closed form: mean over samples of ⟨N(r), v⟩ − ⟨N(r − W_O[:,h] z_h), v⟩, one pass a sample.

    Masking head h changes resid_mid of its own layer by exactly −W_O[:,h] z_h (through the sublayer's own norm, where
    there is one), so no second forward pass is needed. ``directions`` are those at resid_mid.
    """
    v = directions.to(model.device, model.dtype)
    total = torch.zeros(len(EMOTIONS), model.sites.n_layers, model.sites.n_heads, dtype=torch.float64)
    for count, inputs in elicitation_batches(model, groups, batch_groups):
        seen = intervene.record(model, inputs, ("z", "attn_out", "resid_mid"))
        for layer in range(model.sites.n_layers):
            target = v[:, layer].repeat(count, 1)
            loss = _masking_effect(
                model, layer, seen["z"][:, layer], seen["attn_out"][:, layer], seen["resid_mid"][:, layer], target
            )
            total[:, layer] += loss.cpu().double().unflatten(0, (count, len(EMOTIONS))).sum(0)
        on_groups(count)
    return total / len(groups)


@torch.inference_mode()
def _masking_effect(
    model: Model,
    layer: int,
    z: Float[Tensor, "sample width"],
    attn_out: Float[Tensor, "sample d_model"],
    resid_mid: Float[Tensor, "sample d_model"],
    v: Float[Tensor, "sample d_model"],
) -> Float[Tensor, "sample head"]:
    sites = model.sites
    matrix = weight(sites.o_proj(layer)).unflatten(1, (sites.n_heads, sites.d_head))
    written = torch.einsum("shk,dhk->shd", z.unflatten(1, (sites.n_heads, sites.d_head)), matrix)
    joined = sites.attn_to_residual(layer, attn_out).unsqueeze(1)
    masked_join = sites.attn_to_residual(layer, attn_out.unsqueeze(1) - written)
    norm = sites.mid_norm(layer)
    whole = norm(resid_mid).unsqueeze(1)
    masked = norm(resid_mid.unsqueeze(1) - joined + masked_join)
    return ((whole - masked) * v.unsqueeze(1)).sum(-1)
