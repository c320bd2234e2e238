"""Load a causal language model: the embedded default, a local folder, a GGUF file or a hub id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from emobench import intervene
from emobench.checkpoints import hub_identity, locate, read_checkpoint
from emobench.sites import Sites, check_sites, resolve_sites
from emobench.types import Message, UserError

DTYPES = ("auto", "float32", "bfloat16", "float16")
DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True, eq=False)
class Model:
    """A loaded chat model: Hugging Face's module and tokenizer, its sites, and what identifies it.

    ``hash`` is a SHA-256 over the weight files, the same for a model from the hub and for its copy in a folder.
    ``folds_system`` is true of a chat template without a system role: the system text then opens the user's turn.
    """

    name: str
    source: str
    revision: str | None
    hash: str
    dtype: torch.dtype
    device: torch.device
    hf: Any
    tokenizer: Any
    sites: Sites
    folds_system: bool

    @property
    def origin(self) -> str:
        """What a record says of where it came from: the hub id, else ``embedded`` or ``file``, never a local path."""
        return self.source if self.revision or self.source == "embedded" else "file"

    @property
    def dtype_name(self) -> str:
        return str(self.dtype).removeprefix("torch.")

    @property
    def end_token_ids(self) -> tuple[int, ...]:
        """The tokens that end a reply."""
        ends = self.hf.generation_config.eos_token_id
        ends = self.tokenizer.eos_token_id if ends is None else ends
        return tuple(ends) if isinstance(ends, list) else (ends,)

    @property
    def pad_token_id(self) -> int:
        """What fills a reply's row after its end."""
        pad = self.tokenizer.pad_token_id
        return self.end_token_ids[0] if pad is None else pad

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt as text, with the generation prompt added (and Qwen 3's thinking switched off)."""
        turns = fold_system(messages) if self.folds_system else list(messages)
        return _render(self.tokenizer, turns)

    def tokens(self, prompt: str) -> list[int]:
        """A rendered prompt's token ids."""
        return self.tokenizer(prompt, add_special_tokens=False)["input_ids"]

    def encode(self, prompts: Sequence[str]) -> intervene.Inputs:
        """Prompts as ``input_ids``, ``attention_mask`` and ``position_ids``, each (batch, position), left-padded.

        A row is padded with its own first token: masked for attention, and nothing new for the penalties that read a
        row's tokens, so that a reply does not depend on what it is batched with.
        """
        rows = [self.tokens(prompt) for prompt in prompts]
        width = max(map(len, rows))
        ids = torch.tensor([[row[0]] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        positions = (mask.cumsum(-1) - 1).clamp_min(0)
        inputs = {"input_ids": ids, "attention_mask": mask, "position_ids": positions}
        return {name: tensor.to(self.device) for name, tensor in inputs.items()}

    def decode(self, tokens: Sequence[int]) -> tuple[str, int]:
        """A reply's text and its number of tokens, up to and without the token that ended it."""
        kept = list(tokens)
        for position, token in enumerate(kept):
            if token in self.end_token_ids:
                kept = kept[:position]
                break
        return self.tokenizer.decode(kept, skip_special_tokens=True).strip(), len(kept)


def fold_system(messages: Sequence[Message]) -> list[Message]:
    """The messages with the system text at the head of the first user turn, for templates without a system role."""
    if not messages or messages[0]["role"] != "system":
        return list(messages)
    system, user, *rest = messages
    return [{"role": "user", "content": f"{system['content']}\n\n{user['content']}"}, *rest]


def load_model(
    source: str | None = None, *, revision: str | None = None, dtype: str = "auto", device: str = "auto"
) -> Model:
    """Load a model and check that its sites hold what their names say.

    Args:
        source: None for the embedded SmolLM2-135M-Instruct; else a folder, a ``.gguf`` file or a hub id.
        revision: branch, tag or commit on the hub.
        dtype: ``auto`` is float32 on CPU and MPS, and the checkpoint's own type on CUDA.
        device: ``auto`` takes CUDA, else MPS, else the CPU.

    Raises:
        UserError: nothing there, not reachable offline, no chat template, or a structure emobench does not know.
    """
    where = _device(device)
    if dtype not in DTYPES:
        raise UserError(f"unknown dtype {dtype!r}; choose one of {', '.join(DTYPES)}.")
    numbers = ("auto" if where.type == "cuda" else "float32") if dtype == "auto" else dtype
    name, folder, digest, revision = locate(source, revision)
    tokenizer, hf = read_checkpoint(folder, revision, numbers, source or name)
    hf = hf.to(where).eval()
    if tokenizer.chat_template is None:
        raise UserError(
            f"{source or name} has no chat template, so it cannot be given a system and a user message; "
            "choose an instruction-tuned model."
        )
    if digest is None:
        digest, revision = hub_identity(hf, revision)
    model = Model(
        name=name,
        source=source or "embedded",
        revision=revision,
        hash=digest,
        dtype=hf.dtype,
        device=where,
        hf=hf,
        tokenizer=tokenizer,
        sites=resolve_sites(hf),
        folds_system=not _keeps_system(tokenizer),
    )
    self_check(model)
    return model


def self_check(model: Model) -> None:
    """Record a short prompt at every site and compare with Hugging Face's own hidden states (see `check_sites`)."""
    inputs = model.encode([model.render([{"role": "user", "content": "The quick brown fox jumps."}])])
    with torch.inference_mode():
        hidden = model.hf(**inputs, output_hidden_states=True, use_cache=False).hidden_states
        check_sites(model.sites, intervene.record(model, inputs), [h[:, -1] for h in hidden], model.name)


def _device(wanted: str) -> torch.device:
    found = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if wanted == "auto":
        return torch.device(next(name for name, there in found.items() if there))
    if wanted.split(":")[0] not in DEVICES:
        raise UserError(f"unknown device {wanted!r}; choose one of {', '.join(DEVICES)}.")
    if not found[wanted.split(":")[0]]:
        raise UserError(f"device {wanted!r} is not available here; choose --device cpu or leave it out.")
    return torch.device(wanted)


def _render(tokenizer: Any, messages: Sequence[Message]) -> str:
    return tokenizer.apply_chat_template(
        list(messages), tokenize=False, add_generation_prompt=True, enable_thinking=False
    )


def _keeps_system(tokenizer: Any) -> bool:
    """Whether the chat template has a system role: some raise on it, some drop its text without a word."""
    probe = [{"role": "system", "content": "emobench-probe"}, {"role": "user", "content": "Hello."}]
    try:
        return "emobench-probe" in _render(tokenizer, probe)
    except Exception:  # a template may raise anything; whatever it is, it has no system role
        return False
