"""The builtin classifier: a linear head on `features`, with rules for text that is no reply. Offline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from safetensors.numpy import load_file

from emobench.classify.degenerate import degeneracy
from emobench.classify.features import embed, ngrams
from emobench.resources import file_hash
from emobench.types import DEGENERATE, LABELS, Verdict

WEIGHTS = Path(__file__).parent / "builtin.safetensors"
CARD = Path(__file__).parent / "builtin.json"
NGRAM_WEIGHT = 2
"""Of 1, 2 and 3 the best in cross-validation on the corpus."""


def features(texts: Sequence[str]) -> Float[np.ndarray, "text feature"]:
    """Embedding and n-grams side by side."""
    return np.hstack([embed(texts), NGRAM_WEIGHT * ngrams(texts)])


@dataclass(frozen=True, eq=False)
class BuiltinClassifier:
    """Softmax of a linear head; trained by ``python -m emobench.classify.train``."""

    coefficients: Float[np.ndarray, "label feature"]
    intercepts: Float[np.ndarray, " label"]
    weights_hash: str

    @classmethod
    def load(cls) -> BuiltinClassifier:
        tensors = load_file(WEIGHTS)
        return cls(tensors["coefficients"], tensors["intercepts"], file_hash(WEIGHTS))

    @property
    def identity(self) -> dict[str, Any]:
        return {"name": "builtin", "hash": self.weights_hash}

    @property
    def card(self) -> dict[str, Any]:
        """How it was trained and what was measured then."""
        return json.loads(CARD.read_text(encoding="utf-8"))

    def probabilities(self, texts: Sequence[str]) -> Float[np.ndarray, "text label"]:
        logits = features(texts).astype(np.float64) @ self.coefficients.T + self.intercepts
        odds = np.exp(logits - logits.max(axis=1, keepdims=True))
        return odds / odds.sum(axis=1, keepdims=True)

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text; a degenerate text is unscored, with the probabilities that it would have had."""
        if not texts:
            return []
        verdicts = []
        for text, row in zip(texts, self.probabilities(texts), strict=True):
            named = dict(zip(LABELS, map(float, row), strict=True))
            if degeneracy(text):
                verdicts.append(Verdict(None, named, DEGENERATE))
            else:
                verdicts.append(Verdict(LABELS[int(row.argmax())], named))
        return verdicts
