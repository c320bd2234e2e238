"""From a reply's text to a `Verdict`: which of six emotions, or none, its style expresses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from emobench.registry import unknown
from emobench.types import Verdict

CLASSIFIERS = {"builtin": "sentence embeddings and word n-grams, trained on replies written for this project; offline"}


@runtime_checkable
class Classifier(Protocol):
    """Anything that judges texts. ``identity`` is what its verdicts depend on, for the record."""

    @property
    def identity(self) -> dict[str, Any]: ...

    def classify(self, texts: Sequence[str]) -> list[Verdict]:
        """One verdict a text, in order."""
        ...


def load_classifier(name: str = "builtin") -> Classifier:
    """A classifier by name.

    Raises:
        UserError: no such classifier, or its parts are not installed.
    """
    if name not in CLASSIFIERS:
        raise unknown("classifier", name, CLASSIFIERS)
    from emobench.classify.builtin import BuiltinClassifier

    return BuiltinClassifier.load()
