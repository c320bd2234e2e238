"""Reading and editing activations: the only module that touches nnsight.

Prompts come left-padded, so position -1 is every row's own last token. A row of a batch carries its own edit: what the
rows add at one place is stacked into a tensor of shape (batch, 1, width), with zeros for rows that add nothing there.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from nnsight import TransformersModel
from nnsight.intervention.interleaver import OutOfOrderError
from torch import Tensor
from transformers import StoppingCriteria, StoppingCriteriaList

from emobench.types import SITES, Addition, Decoding, Site, UserError

if TYPE_CHECKING:
    from emobench.models import Model

Inputs = dict[str, Tensor]


@lru_cache(maxsize=2)
def _traced(model: Model) -> Any:
    """The model as nnsight sees it."""
    return TransformersModel(model.hf, task="text-generation", tokenizer=model.tokenizer)


def _envoy(traced: Any, path: str) -> Any:
    for part in path.split("."):
        traced = traced[int(part)] if part.isdigit() else getattr(traced, part)
    return traced


@torch.inference_mode()
def record(
    model: Model, inputs: Inputs, sites: Sequence[Site] = SITES
) -> dict[Site, Float[Tensor, "batch layer width"]]:
    """The activations at the last token of each prompt, without computing any logits.

    ``resid_post`` of the last layer is read after the final norm, as Hugging Face's ``hidden_states[-1]`` and the
    paper's code do (method, "Terms").

    Raises:
        UserError: the model reaches the sites in another order than `SITES`.
    """
    ordered = [site for site in SITES if site in sites]
    traced, last = _traced(model), model.sites.n_layers - 1
    places = [
        [
            (model.sites.architecture.final_norm, "output")
            if (site, layer) == ("resid_post", last)
            else model.sites.locate(site, layer)
            for site in ordered
        ]
        for layer in range(last + 1)
    ]
    kept: list[list[Tensor]] = []
    try:
        with traced.trace(inputs) as tracer:
            for layer_places in places:
                row = []
                for path, side in layer_places:
                    row.append(getattr(_envoy(traced, path), side)[:, -1].clone().save())
                kept.append(row)
            tracer.stop()
    except OutOfOrderError as error:
        raise UserError(
            f"{model.name} ({type(model.hf).__name__}) runs its modules in another order than its entry in "
            f"emobench/sites.py says ({error}); mend the entry, or use a model of another architecture."
        ) from error
    return {site: torch.stack([row[i] for row in kept], dim=1) for i, site in enumerate(ordered)}


@dataclass(frozen=True, eq=False)
class _BatchEdit:
    """What a batch adds at one place; ``vectors`` has shape (batch, 1, width)."""

    path: str
    side: str
    vectors: Tensor
    last: bool
    relative: bool


def _stack(model: Model, edits: Sequence[Sequence[Addition]]) -> list[_BatchEdit]:
    """The additions of all rows, one tensor a place, in the order in which a forward pass reaches the places."""
    rows: dict[tuple[int, int, bool, bool], list[tuple[int, Tensor]]] = {}
    for row, edit in enumerate(edits):
        for addition in edit:
            place = (addition.layer, SITES.index(addition.site), addition.positions == "last", addition.relative)
            rows.setdefault(place, []).append((row, addition.vector))
    stacked = []
    for (layer, site, last, relative), vectors in sorted(rows.items(), key=lambda item: item[0]):
        path, side = model.sites.locate(SITES[site], layer)
        total = torch.zeros(len(edits), 1, vectors[0][1].shape[0], dtype=model.dtype, device=model.device)
        for row, vector in vectors:
            total[row, 0] += vector.to(total)
        stacked.append(_BatchEdit(path, side, total, last, relative))
    return stacked


class _OnStep(StoppingCriteria):
    """Calls back after every generated token; never stops anything."""

    def __init__(self, callback: Callable[[], None]) -> None:
        self.callback = callback

    def __call__(self, input_ids: Tensor, scores: Tensor | None, **kwargs: Any) -> Tensor:
        self.callback()
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


@torch.inference_mode()
def generate(
    model: Model,
    inputs: Inputs,
    edits: Sequence[Sequence[Addition]],
    decoding: Decoding,
    on_step: Callable[[], None] = lambda: None,
) -> Int[Tensor, "batch new"]:
    """Greedy replies to a batch of prompts, each row under its own edit; rows that end early are padded.

    The edit is made in place at every forward pass: on the prompt's pass, ``last`` is the prompt's last token.
    """
    options = {
        "do_sample": False,
        "max_new_tokens": decoding.max_new_tokens,
        "min_new_tokens": min(decoding.min_new_tokens, decoding.max_new_tokens),
        "repetition_penalty": decoding.repetition_penalty,
        "no_repeat_ngram_size": decoding.no_repeat_ngram_size,
        "pad_token_id": model.pad_token_id,
        "eos_token_id": list(model.end_token_ids),
        "stopping_criteria": StoppingCriteriaList([_OnStep(on_step)]),
    }
    prompt_length = inputs["input_ids"].shape[1]
    plan = _stack(model, edits)
    if not plan:
        return model.hf.generate(**inputs, **options)[:, prompt_length:]
    traced = _traced(model)
    targets = [(_envoy(traced, edit.path), edit) for edit in plan]
    with warnings.catch_warnings():
        # an open loop over the steps always asks for one step more than the run makes
        warnings.filterwarnings("ignore", message=".*was never reached", category=UserWarning)
        with traced.generate(**options) as tracer:
            with tracer.invoke(inputs):
                for _ in tracer.iter[:]:
                    for envoy, edit in targets:
                        _add(getattr(envoy, edit.side), edit)
            with tracer.invoke():
                tokens = tracer.result.save()
    return tokens[:, prompt_length:]


def _add(activations: Float[Tensor, "batch position width"], edit: _BatchEdit) -> None:
    view = activations[:, -1:] if edit.last else activations
    if edit.relative:
        rms = view.float().pow(2).mean(-1, keepdim=True).sqrt().to(view.dtype)
        view += edit.vectors * rms
    else:
        view += edit.vectors
