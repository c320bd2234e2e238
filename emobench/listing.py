"""What `emobench ls` prints."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable
from pathlib import Path

from tabulate import tabulate

from emobench.classify import CLASSIFIERS
from emobench.controllers import controller_files
from emobench.sev import load_task, splits


def _controllers() -> str:
    return _list((name, _first_line(path)) for name, path in controller_files().items())


def _tasks() -> str:
    return _list((name, f"{len(load_task(name).records)} scenarios: {path.name}") for name, path in splits().items())


def _classifiers() -> str:
    return _list(CLASSIFIERS.items())


def _models() -> str:
    from emobench.sites import ARCHITECTURES

    return (
        _list(
            [
                ("(left out)", "the embedded SmolLM2-135M-Instruct, 30 layers; runs offline on a laptop"),
                ("FOLDER, FILE.gguf", "a model on this machine"),
                ("OWNER/NAME", "a model on the Hugging Face hub"),
            ]
        )
        + f"\n\nKnown structures (model types): {', '.join(ARCHITECTURES)}."
    )


LISTS: dict[str, Callable[[], str]] = {
    "controllers": _controllers,
    "tasks": _tasks,
    "classifiers": _classifiers,
    "models": _models,
}


def _list(rows: Iterable[tuple[str, str]]) -> str:
    return tabulate(list(rows), tablefmt="plain")


def _first_line(path: Path) -> str:
    """The first line of a file's docstring, read without running the file."""
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n")[0]
