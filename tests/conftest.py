"""Shared parts: the embedded model, a tiny random model of every architecture, and where reference numbers lie."""

from __future__ import annotations

import json
import os
from pathlib import Path

import beartype  # noqa: F401 - ahead of nnsight, whose method on `object` beartype cannot take in
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from emobench.models import Model, load_model
from emobench.sev import load_task

SHARED = Path(__file__).parents[2] / "shared"

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48}
GROUPED = {**SIZES, "num_key_value_heads": 2, "head_dim": 8}
TINY = {
    "llama": GROUPED,
    "mistral": GROUPED,
    "qwen2": {**SIZES, "num_key_value_heads": 2},
    "qwen3": GROUPED,
    "gemma2": GROUPED,
    "gemma3_text": GROUPED,
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_inner": 48},
}


@pytest.fixture(scope="session")
def embedded() -> Model:
    return load_model(device="cpu")


def save_tiny(kind: str, folder: Path, tokenizer) -> Path:
    """A random model of one architecture with the embedded model's tokenizer, as a folder that ``--model`` takes."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=len(tokenizer), **TINY[kind])
    config.bos_token_id, config.eos_token_id, config.pad_token_id = 1, 2, 2
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for name, parameter in model.named_parameters():  # norms of ones and biases of zeros would hide mistakes
            if parameter.dim() == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
            elif "embed" not in name and "wte" not in name:
                parameter.mul_(4)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory, embedded):
    """Folder of a tiny model, by architecture; each is made once."""
    made: dict[str, Path] = {}

    def folder(kind: str) -> Path:
        if kind not in made:
            made[kind] = save_tiny(kind, tmp_path_factory.mktemp(kind), embedded.tokenizer)
        return made[kind]

    return folder


@pytest.fixture(scope="session")
def tiny(tiny_folder):
    """A loaded tiny model, by architecture."""
    made: dict[str, Model] = {}

    def model(kind: str) -> Model:
        if kind not in made:
            made[kind] = load_model(str(tiny_folder(kind)), device="cpu")
        return made[kind]

    return model


@pytest.fixture(scope="session")
def samples():
    """Two scenarios of the validation split: 36 samples."""
    return load_task("validation").samples(2)


@pytest.fixture
def shared() -> Path:
    """Reference numbers beside the project; a test that needs them is skipped where they are not."""
    if not SHARED.is_dir():
        pytest.skip("no reference numbers beside this checkout")
    return SHARED


@pytest.fixture
def sev_file(tmp_path):
    """A SEV file of two scenarios."""
    path = tmp_path / "two.jsonl"
    rows = [
        {
            "theme": theme,
            "scenario": scenario,
            "event": {
                "positive": "The clerk stamped it and gave the fee back.",
                "neutral": "The clerk stamped it and filed a copy.",
                "negative": "The clerk lost it and charged the fee twice.",
            },
            "skeleton_id": f"s{number}",
        }
        for number, (theme, scenario) in enumerate([("A", "I handed in a form"), ("B", "We renewed a permit")])
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Nothing may be fetched while testing."""
    monkeypatch.setenv("HF_HUB_OFFLINE", os.environ.get("HF_HUB_OFFLINE", "1"))
