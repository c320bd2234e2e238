"""emobench: how well can a language model's expressed emotion be controlled, and at what cost?

What a baseline or a notebook needs is here; everything else is a module of its own. The names load on first use, so
that ``import emobench`` and ``emobench --help`` are quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from emobench.controllers import Setting, controller, strength_field
    from emobench.evaluation import evaluate
    from emobench.models import load_model
    from emobench.prompts import elicitation_messages, neutral_messages
    from emobench.sev import load_sev
    from emobench.types import EMOTIONS, Addition, Control, Sample, Verdict

_HOMES = {
    "EMOTIONS": "types",
    "Addition": "types",
    "Control": "types",
    "Sample": "types",
    "Verdict": "types",
    "Setting": "controllers",
    "controller": "controllers",
    "strength_field": "controllers",
    "elicitation_messages": "prompts",
    "neutral_messages": "prompts",
    "load_sev": "sev",
    "load_model": "models",
    "evaluate": "evaluation",
}

__all__ = [
    "EMOTIONS",
    "Addition",
    "Control",
    "Sample",
    "Setting",
    "Verdict",
    "controller",
    "elicitation_messages",
    "evaluate",
    "load_model",
    "load_sev",
    "neutral_messages",
    "strength_field",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'emobench' has no attribute {name!r}")
    return getattr(import_module(f"emobench.{_HOMES[name]}"), name)
