"""Where a model keeps what emobench records and edits: one small table, from architecture to modules."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from emobench.types import Site, UserError


@dataclass(frozen=True)
class Architecture:
    """Module paths of one family; those of a layer are relative to it.

    ``attn_post_norm`` and ``mlp_post_norm`` are the norms that some models (Gemma 2 and 3) put between a sublayer's
    projection and the residual stream.
    """

    layers: str
    final_norm: str
    o_proj: str
    mid_norm: str
    down_proj: str
    attn_post_norm: str | None = None
    mlp_post_norm: str | None = None


LLAMA = Architecture("model.layers", "model.norm", "self_attn.o_proj", "post_attention_layernorm", "mlp.down_proj")
GEMMA = Architecture(
    "model.layers",
    "model.norm",
    "self_attn.o_proj",
    "pre_feedforward_layernorm",
    "mlp.down_proj",
    "post_attention_layernorm",
    "post_feedforward_layernorm",
)
GPT2 = Architecture("transformer.h", "transformer.ln_f", "attn.c_proj", "ln_2", "mlp.c_proj")

ARCHITECTURES = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma2": GEMMA,
    "gemma3_text": GEMMA,
    "gpt2": GPT2,
}


@dataclass(frozen=True, eq=False)
class Sites:
    """The sites of one loaded model, by module path, with its sizes."""

    architecture: Architecture
    root: nn.Module
    n_layers: int
    d_model: int
    n_heads: int
    d_head: int
    d_mlp: int

    def locate(self, site: Site, layer: int) -> tuple[str, Literal["input", "output"]]:
        """The module path and the side of it at which ``site`` of ``layer`` is read."""
        a, base = self.architecture, f"{self.architecture.layers}.{layer}"
        places: dict[Site, tuple[str, Literal["input", "output"]]] = {
            "z": (f"{base}.{a.o_proj}", "input"),
            "attn_out": (f"{base}.{a.o_proj}", "output"),
            "resid_mid": (f"{base}.{a.mid_norm}", "input"),
            "a": (f"{base}.{a.down_proj}", "input"),
            "mlp_out": (f"{base}.{a.down_proj}", "output"),
            "resid_post": (base, "output"),
        }
        return places[site]

    def width(self, site: Site) -> int:
        """How many numbers a site holds at one position."""
        return {"z": self.n_heads * self.d_head, "a": self.d_mlp}.get(site, self.d_model)

    def module(self, path: str) -> nn.Module:
        return self.root.get_submodule(path)

    def in_layer(self, layer: int, path: str) -> nn.Module:
        return self.module(f"{self.architecture.layers}.{layer}.{path}")

    def o_proj(self, layer: int) -> nn.Module:
        return self.in_layer(layer, self.architecture.o_proj)

    def down_proj(self, layer: int) -> nn.Module:
        return self.in_layer(layer, self.architecture.down_proj)

    def mid_norm(self, layer: int) -> nn.Module:
        return self.in_layer(layer, self.architecture.mid_norm)

    def attn_to_residual(self, layer: int, x: Tensor) -> Tensor:
        """What the attention projection's output becomes before it joins the residual stream."""
        path = self.architecture.attn_post_norm
        return self.in_layer(layer, path)(x) if path else x

    def mlp_to_residual(self, layer: int, x: Tensor) -> Tensor:
        """What the MLP projection's output becomes before it joins the residual stream."""
        path = self.architecture.mlp_post_norm
        return self.in_layer(layer, path)(x) if path else x


def weight(projection: nn.Module) -> Float[Tensor, "out in"]:
    """A projection's matrix as (out, in), whether it is a ``Linear`` or GPT-2's transposed ``Conv1D``."""
    matrix = projection.weight
    assert isinstance(matrix, Tensor)
    return matrix if isinstance(projection, nn.Linear) else matrix.T


def resolve_sites(model: Any) -> Sites:
    """The sites of a Hugging Face causal LM.

    Raises:
        UserError: the architecture is not in the table, or lacks a module that its entry names.
    """
    kind, config = model.config.model_type, model.config.get_text_config()
    architecture = ARCHITECTURES.get(kind)
    if architecture is None:
        near = get_close_matches(kind, ARCHITECTURES, n=1, cutoff=0.5)
        raise UserError(
            f"emobench does not know the structure of {type(model).__name__} (model type {kind!r}"
            f"{f', nearest known: {near[0]!r}' if near else ''}); known are {', '.join(ARCHITECTURES)}. "
            "Add its module paths to ARCHITECTURES in emobench/sites.py; the self-check at load then tests them."
        )
    first = f"{architecture.layers}.0."
    needed = [architecture.final_norm, first + architecture.o_proj, first + architecture.mid_norm]
    for path in [*needed, first + architecture.down_proj]:
        try:
            model.get_submodule(path)
        except AttributeError:
            children = ", ".join(name for name, _ in model.get_submodule(architecture.layers)[0].named_children())
            raise UserError(
                f"{type(model).__name__} calls itself {kind!r} but has no module {path!r}; its layers hold {children}. "
                "emobench does not run a model whose structure it does not understand."
            ) from None
    heads = config.num_attention_heads
    z_width = weight(model.get_submodule(first + architecture.o_proj)).shape[1]
    return Sites(
        architecture=architecture,
        root=model,
        n_layers=config.num_hidden_layers,
        d_model=config.hidden_size,
        n_heads=heads,
        d_head=z_width // heads,
        d_mlp=weight(model.get_submodule(first + architecture.down_proj)).shape[1],
    )


def check_sites(
    sites: Sites,
    recorded: dict[Site, Float[Tensor, "batch layer width"]],
    hidden_states: list[Float[Tensor, "batch d_model"]],
    name: str,
) -> None:
    """Compare what the sites recorded with an independent computation, layer by layer.

    ``hidden_states`` are Hugging Face's own (embedding first, the last one after the final norm), at the same token.
    Each site must follow from the one before: W_O z = attn_out, hidden + attn_out = resid_mid, W_down a = mlp_out,
    resid_mid + mlp_out = resid_post, and resid_post = the next hidden state.

    Raises:
        UserError: a site does not hold what its name says; the sentence names the model, layer and difference.
    """
    tolerance = 1e-3 if hidden_states[0].dtype == torch.float32 else 5e-2
    for layer in range(sites.n_layers):
        z, attn, mid, a, mlp, post = (recorded[s][:, layer] for s in recorded)
        last = layer == sites.n_layers - 1
        summed = mid + sites.mlp_to_residual(layer, mlp)
        expected = {
            "attn_out": (attn, sites.o_proj(layer)(z)),
            "resid_mid": (mid, hidden_states[layer] + sites.attn_to_residual(layer, attn)),
            "mlp_out": (mlp, sites.down_proj(layer)(a)),
            "resid_post": (post, sites.module(sites.architecture.final_norm)(summed) if last else summed),
            "resid_post beside hidden_states": (post, hidden_states[layer + 1]),
        }
        for site, (found, wanted) in expected.items():
            difference = float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-6))
            if not difference <= tolerance:
                raise UserError(
                    f"the self-check of {name} ({type(sites.root).__name__}) failed: {site} of layer {layer} differs "
                    f"from an independent computation by {difference:.2g} of its size, so its layers are not built as "
                    "emobench expects. Use a model of another architecture, or mend its entry in emobench/sites.py."
                )
