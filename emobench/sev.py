"""SEV data (Scenario-Event with Valence): JSONL records in the published format -> samples."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emobench.registry import unknown
from emobench.resources import file_hash, shipped
from emobench.types import EMOTIONS, VALENCES, Sample, UserError

if TYPE_CHECKING:
    from datasets import Dataset


@dataclass(frozen=True)
class Record:
    """One scenario with its three outcomes, as a line of a SEV file holds it."""

    theme: str
    scenario: str
    event: dict[str, str]
    skeleton_id: str


@dataclass(frozen=True)
class Task:
    """A SEV file: its name in tables, its records, and the SHA-256 of its bytes."""

    name: str
    path: Path
    hash: str
    records: tuple[Record, ...]

    def samples(self, limit: int | None = None) -> list[Sample]:
        """Six samples a (scenario, valence), in file order.

        ``limit`` keeps that many scenarios, taken in turn from each theme, so that a part is spread like the whole.

        Raises:
            UserError: ``limit`` is not a positive number.
        """
        if limit is not None and limit < 1:
            raise UserError(f"the limit must be at least 1 scenario, not {limit}; leave it out for the whole split.")
        chosen = set(map(id, _in_turn(self.records)[:limit]))
        return [
            Sample(r.scenario, r.event[valence], valence, emotion, r.theme, r.skeleton_id)
            for r in self.records
            if id(r) in chosen
            for valence in VALENCES
            for emotion in EMOTIONS
        ]


def _in_turn(records: Sequence[Record]) -> list[Record]:
    """The records with the themes taking turns."""
    themes: dict[str, list[Record]] = {}
    for record in records:
        themes.setdefault(record.theme, []).append(record)
    return [record for round_ in zip_longest(*themes.values()) for record in round_ if record is not None]


def splits() -> dict[str, Path]:
    """The built-in splits, by name."""
    return {path.stem: path for path in sorted((shipped("tasks") / "sev").glob("*.jsonl"))}


def load_task(name: str) -> Task:
    """A built-in split by its name, or any JSONL file in the published format by its path.

    Raises:
        UserError: no such split or file, or a line that is not a SEV record (file, line number and field are named).
    """
    known = splits()
    path = known.get(name, Path(name))
    if not path.is_file():
        if path.suffix == ".jsonl" or "/" in name:
            raise UserError(
                f"there is no task file {name}; give a JSONL in the SEV format or one of {', '.join(known)}."
            )
        raise unknown("task", name, known, "or give the path of a JSONL file in the SEV format")
    return Task(path.stem, path, file_hash(path), read_records(path))


def load_sev(split: str) -> Dataset:
    """A built-in split as a `datasets.Dataset`: one row a scenario, its fingerprint the hash of the file."""
    from datasets import Dataset, Features, Value

    if split not in splits():
        raise unknown("split", split, splits())
    task = load_task(split)
    text = Value("string")
    features = Features({"theme": text, "scenario": text, "event": dict.fromkeys(VALENCES, text), "skeleton_id": text})
    rows = Dataset.from_list([vars(record) for record in task.records], features=features, split=split)
    rows._fingerprint = task.hash[:16]
    return rows


def read_records(path: Path) -> tuple[Record, ...]:
    """Every record of a SEV file, in order; blank lines are passed over."""
    records: list[Record] = []
    seen: dict[str, int] = {}
    with path.open(encoding="utf-8") as lines:
        for number, line in _numbered(lines, path):
            record = _record(line, f"{path}, line {number}")
            if record.skeleton_id in seen:
                raise UserError(
                    f"{path}, line {number}: field 'skeleton_id' repeats {record.skeleton_id!r} of line "
                    f"{seen[record.skeleton_id]}; give every scenario an id of its own."
                )
            seen[record.skeleton_id] = number
            records.append(record)
    if not records:
        raise UserError(f"{path} holds no SEV records; check that it is the right file.")
    return tuple(records)


def _numbered(lines: Any, path: Path) -> Any:
    try:
        yield from ((number, line) for number, line in enumerate(lines, 1) if line.strip())
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; give a JSONL file in the SEV format.") from None


def _record(line: str, where: str) -> Record:
    try:
        raw = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where}: not JSON ({error.msg} at column {error.colno}); mend or remove the line.") from None
    if not isinstance(raw, dict):
        raise UserError(f"{where}: a SEV record is a JSON object, not {type(raw).__name__}; mend or remove the line.")
    event = raw.get("event")
    if not isinstance(event, dict):
        raise UserError(f"{where}: field 'event' must be an object with {', '.join(VALENCES)}; mend the line.")
    named = {**{key: raw.get(key) for key in ("theme", "scenario", "skeleton_id")}}
    named |= {f"event.{valence}": event.get(valence) for valence in VALENCES}
    for field, value in named.items():
        if not isinstance(value, str) or not value.strip():
            raise UserError(f"{where}: field {field!r} is missing or not a text; mend the line.")
    return Record(
        theme=raw["theme"],
        scenario=raw["scenario"],
        event={valence: event[valence] for valence in VALENCES},
        skeleton_id=raw["skeleton_id"],
    )
