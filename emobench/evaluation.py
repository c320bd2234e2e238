"""The whole story: samples -> controls -> replies -> verdicts -> scores -> record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from emobench.classify import Classifier
from emobench.controllers import Named
from emobench.generate import ControlOf, Generation, Job, asking, controls_for, generate_batch, plan_batches
from emobench.models import Model, fold_system
from emobench.progress import Progress
from emobench.resources import require_disk
from emobench.runs import ReplyLog, Row, RunFolder
from emobench.sev import Task
from emobench.stats import expression
from emobench.types import EMOTIONS, VALENCES, Control, Decoding, Sample, Verdict
from emobench.versions import hardware, versions

BYTES_A_REPLY = 2000
TYPICAL_STEPS = 3
"""Tokens of the first batch after which the time of the whole run is foretold."""


def evaluate(
    model: Model,
    task: Task,
    controllers: Sequence[Named],
    classifier: Classifier,
    out: Path,
    *,
    limit: int | None = None,
    decoding: Decoding | None = None,
    batch_size: int = 48,
    seed: int = 0,
    artifact: Path | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Run controllers on a task, score the replies, and keep the record under ``out`` (see `emobench.runs`).

    What ``out`` already holds of the same run is not computed again. Returns the summary, as in ``summary.json``.

    Raises:
        UserError: ``out`` holds another run, a controller needs an artifact that is missing or of another model, or
            the disk is full.
    """
    progress = progress or Progress(quiet=True)
    decoding = decoding or Decoding()
    samples = task.samples(limit)
    folder = RunFolder.open(out, run_config(model, task, classifier, limit, decoding, batch_size, seed))
    require_disk(out, BYTES_A_REPLY * len(samples) * len(controllers), "this run")

    todo: list[tuple[Named, ControlOf, ReplyLog, list[list[Job]], int]] = []
    for named in controllers:
        control_of, setting = asking(model, named, seed, artifact)
        batches = plan_batches(model, samples, control_of, batch_size)
        log = folder.log(named.label, named.identity(setting))
        done = log.keep_whole_batches([[s.id for job in batch for s in job.samples] for batch in batches])
        todo.append((named, control_of, log, batches, done))

    clock = _Clock(progress, decoding, sum(len(b) for *_, batches, done in todo for b in batches[done:]))
    for named, control_of, log, batches, done in todo:
        total = sum(len(batch) for batch in batches[done:])
        with progress.task(named.label, total, " replies") as advance:
            for number, batch in enumerate(batches[done:], done):
                torch.manual_seed(seed + number)
                controls = controls_for(batch, control_of)
                started = time.perf_counter()
                generations = generate_batch(model, batch, controls, decoding, clock.start(len(batch), advance))
                generated = time.perf_counter()
                verdicts = classifier.classify([generation.text for generation in generations])
                timing = {
                    "batch": number,
                    "tokens": sum(generation.n_tokens for generation in generations),
                    "generate_s": round(generated - started, 3),
                    "classify_s": round(time.perf_counter() - generated, 3),
                }
                log.append(_rows(model, batch, controls, generations, verdicts), timing)
                clock.finish(len(batch), advance)

    summary = summarise(folder, samples, [named.label for named in controllers])
    folder.write_summary(summary)
    return summary


def run_config(
    model: Model,
    task: Task,
    classifier: Classifier,
    limit: int | None,
    decoding: Decoding,
    batch_size: int,
    seed: int,
) -> dict[str, Any]:
    """What makes two runs the same run, whatever controllers they hold."""
    return {
        "model": {
            "name": model.name,
            "source": model.origin,
            "revision": model.revision,
            "hash": model.hash,
            "dtype": model.dtype_name,
            "device": model.device.type,
            "folded_system": model.folds_system,
        },
        "task": {"name": task.name, "hash": task.hash},
        "limit": limit,
        "decoding": asdict(decoding),
        "classifier": classifier.identity,
        "batch_size": batch_size,
        "seed": seed,
    }


def summarise(folder: RunFolder, samples: Sequence[Sample], first: Sequence[str]) -> dict[str, Any]:
    """The summary of a folder: every controller whose replies are complete, those of ``first`` ahead."""
    expected = {sample.id for sample in samples}
    controllers = {}
    for label in dict.fromkeys([*first, *folder.labels()]):
        rows = ReplyLog(folder.path / label).rows()
        if {row["id"] for row in rows} == expected:
            controllers[label] = {"config": folder.identity(label), "scores": scores(rows)}
    return {
        "config": folder.config(),
        "versions": versions(),
        "hardware": hardware(),
        "controllers": controllers,
    }


def scores(rows: Sequence[Row]) -> dict[str, Any]:
    """Expression accuracy overall, by emotion, and by emotion and valence."""

    def score(chosen: Sequence[Row]) -> dict[str, Any]:
        verdicts = [Verdict(row["label"], row["probabilities"], row["unscored"]) for row in chosen]
        targets, clusters = [row["target"] for row in chosen], [row["skeleton_id"] for row in chosen]
        return asdict(expression(verdicts, targets, clusters))

    def of(emotion: str, valence: str | None = None) -> list[Row]:
        return [r for r in rows if r["target"] == emotion and valence in (None, r["valence"])]

    return {
        "overall": score(rows),
        **{emotion: score(of(emotion)) for emotion in EMOTIONS},
        "by_valence": {emotion: {v: score(of(emotion, v)) for v in VALENCES} for emotion in EMOTIONS},
    }


def _rows(
    model: Model,
    batch: Sequence[Job],
    controls: Sequence[Control],
    generations: Sequence[Generation],
    verdicts: Sequence[Verdict],
) -> list[Row]:
    rows = []
    for job, control, generation, verdict in zip(batch, controls, generations, verdicts, strict=True):
        messages = fold_system(control.messages) if model.folds_system else control.messages
        for sample in job.samples:
            rows.append(
                {
                    "id": sample.id,
                    "target": sample.target,
                    "valence": sample.valence,
                    "theme": sample.theme,
                    "skeleton_id": sample.skeleton_id,
                    "messages": messages,
                    "reply": generation.text,
                    "tokens": generation.n_tokens,
                    "ended": generation.ended,
                    "label": verdict.label,
                    "probabilities": {name: round(p, 6) for name, p in verdict.probabilities.items()},
                    "unscored": verdict.unscored,
                }
            )
    return rows


class _Clock:
    """Moves the bar token by token, and foretells the run's time from the first tokens of its first batch."""

    def __init__(self, progress: Progress, decoding: Decoding, replies: int) -> None:
        self.progress, self.steps, self.replies = progress, decoding.max_new_tokens, replies
        self.foretold = False

    def start(self, rows: int, advance: Callable[[float], None]) -> Callable[[], None]:
        """Called before a batch; the answer is called after every token."""
        self.shown, began, ticks = 0.0, time.perf_counter(), []

        def on_step() -> None:
            ticks.append(time.perf_counter())
            amount = min(rows / self.steps, rows - self.shown)
            self.shown += amount
            advance(amount)
            if len(ticks) == TYPICAL_STEPS and not self.foretold:
                self.foretold = True
                step = (ticks[-1] - ticks[0]) / (TYPICAL_STEPS - 1)
                self._foretell((ticks[0] - began + self.steps * step) * self.replies / rows)

        return on_step

    def finish(self, rows: int, advance: Callable[[float], None]) -> None:
        advance(rows - self.shown)

    def _foretell(self, seconds: float) -> None:
        span = f"{seconds:.0f} seconds" if seconds < 120 else f"{seconds / 60:.0f} minutes"
        span = span if seconds < 7200 else f"{seconds / 3600:.1f} hours"
        hint = "; to try a part first, stop it and add --limit 8 (8 scenarios)" if seconds > 600 else ""
        self.progress.note(f"{self.replies} replies to generate: at most about {span} on this machine{hint}.")
