"""The run folder: what was asked, every reply as it comes, and the summary.

    DIR/config.json              what the run is: model, data, decoding, classifier, seed
    DIR/<controller>/config.json the controller's name, parameters, source hash and artifact hash
    DIR/<controller>/replies.jsonl   one line a sample, in the order of the batches
    DIR/<controller>/timing.jsonl    one line a batch; the only file that differs between equal runs
    DIR/summary.json             configuration, versions, hardware, scores

A batch's lines are written in one piece and count only when all of them are there, so that a killed run goes on from
its last whole batch and ends with the same bytes as an undisturbed one.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emobench.types import UserError

Row = dict[str, Any]


@dataclass(frozen=True)
class RunFolder:
    """A folder that gathers the replies of any number of controllers to one model, task and configuration."""

    path: Path

    @classmethod
    def open(cls, path: Path, config: dict[str, Any]) -> RunFolder:
        """Make the folder, or go on with it if it is of the same configuration.

        Raises:
            UserError: it holds another run (the setting that differs is named), or cannot be written.
        """
        with writing(path):
            path.mkdir(parents=True, exist_ok=True)
            _claim(
                path / "config.json",
                config,
                path.glob("*/replies.jsonl"),
                f"the output folder {path} holds another run",
            )
        return cls(path)

    def log(self, label: str, identity: dict[str, Any]) -> ReplyLog:
        """The replies of one controller.

        Raises:
            UserError: the folder holds replies of a controller of that name made otherwise.
        """
        path = self.path / label
        with writing(path):
            path.mkdir(exist_ok=True)
            _claim(
                path / "config.json",
                identity,
                path.glob("replies.jsonl"),
                f"{path} holds replies of a {label} that was set up otherwise",
            )
        return ReplyLog(path)

    def labels(self) -> list[str]:
        """The controllers whose replies are here."""
        return sorted(p.parent.name for p in self.path.glob("*/config.json"))

    def config(self) -> dict[str, Any]:
        return json.loads((self.path / "config.json").read_text(encoding="utf-8"))

    def identity(self, label: str) -> dict[str, Any]:
        return json.loads((self.path / label / "config.json").read_text(encoding="utf-8"))

    def write_summary(self, summary: dict[str, Any]) -> None:
        with writing(self.path):
            replace_text(self.path / "summary.json", json.dumps(summary, indent=1, ensure_ascii=False) + "\n")


@dataclass(frozen=True)
class ReplyLog:
    """One controller's replies on disk."""

    path: Path

    @property
    def replies(self) -> Path:
        return self.path / "replies.jsonl"

    def rows(self) -> list[Row]:
        """Every whole line."""
        if not self.replies.exists():
            return []
        lines = self.replies.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines]

    def keep_whole_batches(self, batches: Sequence[Sequence[str]]) -> int:
        """Drop what an interrupted write left behind, and say how many of the planned batches are done.

        Raises:
            UserError: the file holds other samples than planned.
        """
        if not self.replies.exists():
            return 0
        content = self.replies.read_bytes()
        lines = content.split(b"\n")[:-1]
        done = taken = size = 0
        for batch in batches:
            here = lines[taken : taken + len(batch)]
            if len(here) < len(batch):
                break
            found = [_sample_id(line) for line in here]
            if found != list(batch):
                raise UserError(
                    f"{self.replies} does not hold the replies this run would write (line {taken + 1}); "
                    "choose another --out, or delete the folder to start again."
                )
            done, taken, size = done + 1, taken + len(batch), size + sum(len(line) + 1 for line in here)
        if size < len(content):
            with writing(self.path), self.replies.open("r+b") as file:
                file.truncate(size)
        return done

    def append(self, rows: Sequence[Row], timing: dict[str, Any]) -> None:
        """Write a batch's rows in one piece, then its timing."""
        for name, lines in (("replies.jsonl", rows), ("timing.jsonl", [timing])):
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
            with writing(self.path), (self.path / name).open("ab", buffering=0) as file:
                file.write(text.encode())
                os.fsync(file.fileno())


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what a file system may refuse into a sentence; what is already written stays."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise UserError(
                f"no space left on the disk of {path}; every finished batch is kept: free some space and run the "
                "same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EPERM):
            raise UserError(f"cannot write to {path} ({error.strerror}); choose another --out.") from error
        raise


def _sample_id(line: bytes) -> str | None:
    try:
        return json.loads(line)["id"]
    except (ValueError, KeyError, TypeError):
        return None


def _claim(file: Path, config: dict[str, Any], replies: Iterable[Path], what: str) -> None:
    """Write the configuration, or check that the one there, under which there are replies, is the same."""
    wanted = json.dumps(config, indent=1, ensure_ascii=False) + "\n"
    if not file.exists() or not any(replies):
        replace_text(file, wanted)
        return
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError:
        found = None
    if found != json.loads(wanted):
        raise UserError(
            f"{what} ({_difference(found, json.loads(wanted))}); choose another --out, or delete the folder to start "
            "again."
        )


def _difference(found: Any, wanted: Any, path: str = "") -> str:
    """The first setting in which two configurations differ, in words."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(k for k in found if k not in wanted)]:
            if found.get(key) != wanted.get(key):
                return _difference(found.get(key), wanted.get(key), f"{path}.{key}" if path else key)
    return f"{path or 'configuration'}: {found!r} there, {wanted!r} now"


def replace_text(file: Path, text: str) -> None:
    """Write a file whole or not at all."""
    scratch = file.with_suffix(".tmp")
    scratch.write_text(text, encoding="utf-8")
    scratch.replace(file)
