"""Named plugins and the sentence for a name that is none: controllers, tasks, classifiers."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from emobench.types import UserError


def unknown(kind: str, name: str, choices: Iterable[str], otherwise: str = "") -> UserError:
    """The error for a name that is not among the choices, with the nearest one."""
    choices = sorted(choices)
    near = get_close_matches(name, choices, n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? " if near else ""
    return UserError(
        f"unknown {kind} {name!r}; {guess}Choose one of {', '.join(choices)}{f', {otherwise}' if otherwise else ''}."
    )
