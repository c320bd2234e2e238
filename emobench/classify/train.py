"""Train the builtin classifier from the corpus beside this file: ``python -m emobench.classify.train``.

Deterministic: the same corpus and packages give the same bytes. Replies of one situation stay in one fold, so that
cross-validation does not reward knowing the topic.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import confusion_matrix
from sklearn.model_selection import GroupKFold

from emobench.classify.builtin import CARD, WEIGHTS, features
from emobench.resources import file_hash
from emobench.types import LABELS

CORPUS = Path(__file__).parent / "corpus"
REGULARISATION = 10.0
FOLDS = 5


def read_corpus() -> list[dict[str, Any]]:
    """Every row of the corpus, in file order."""
    return [
        json.loads(line)
        for path in sorted(CORPUS.glob("*.jsonl"))
        for line in path.read_text(encoding="utf-8").splitlines()
    ]


def fit(x: np.ndarray, y: np.ndarray) -> LogisticRegression:
    return LogisticRegression(C=REGULARISATION, max_iter=1000).fit(x, y)


def cross_validate(x: np.ndarray, y: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The prediction for each row by a head that saw no row of its group."""
    predicted = np.empty_like(y)
    for train, test in GroupKFold(min(FOLDS, len(set(groups)))).split(x, y, groups):
        predicted[test] = fit(x[train], y[train]).predict(x[test])
    return predicted


def main() -> None:
    rows = read_corpus()
    x = features([row["text"] for row in rows])
    y = np.array([LABELS.index(row["label"]) for row in rows])
    predicted = cross_validate(x, y, np.array([row["theme"] for row in rows]))
    head = fit(x, y)
    save_file(
        {
            # in C order: safetensors writes the memory as it lies
            "coefficients": np.ascontiguousarray(head.coef_, dtype=np.float32),
            "intercepts": np.ascontiguousarray(head.intercept_, dtype=np.float32),
        },
        WEIGHTS,
    )
    accuracy = round(float((predicted == y).mean()), 4)
    card = {
        "corpus": {path.name: file_hash(path) for path in sorted(CORPUS.glob("*.jsonl"))},
        "rows": len(rows),
        "regularisation": REGULARISATION,
        "cross_validation": {
            "folds": FOLDS,
            "left_out": "whole themes",
            "accuracy": accuracy,
            "labels": list(LABELS),
            "confusion": confusion_matrix(y, predicted).tolist(),
        },
    }
    CARD.write_text(json.dumps(card, indent=1) + "\n", encoding="utf-8")
    print(f"{len(rows)} replies; accuracy on themes left out: {accuracy:.3f}")


if __name__ == "__main__":
    main()
