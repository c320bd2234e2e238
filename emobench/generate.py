"""Model x Control x samples -> generations, in batches that are the same however often a run is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from emobench import intervene
from emobench.models import Model
from emobench.types import Control, Decoding, Sample

ControlOf = Callable[[Sample], Control]


@dataclass(frozen=True)
class Job:
    """One reply to generate, and the samples it answers.

    Without an edit, samples that send the same prompt get the same greedy reply: it is generated once.
    """

    prompt: str
    n_tokens: int
    samples: tuple[Sample, ...]


@dataclass(frozen=True)
class Generation:
    """A reply: its text, its tokens without the one that ended it, and whether it ended by itself."""

    text: str
    n_tokens: int
    ended: bool


def plan_batches(model: Model, samples: Iterable[Sample], control_of: ControlOf, batch_size: int) -> list[list[Job]]:
    """Batches of jobs, longest prompts first, so that the first batch shows what fits in memory.

    A batch mixes emotions. The plan depends on nothing but its arguments; resuming relies on it. Edits are not kept:
    the controller is asked for them again when a batch's turn comes, so that memory does not grow with the data.
    """
    merged: dict[object, tuple[str, list[Sample]]] = {}
    for sample in samples:
        control = control_of(sample)
        prompt = model.render(control.messages)
        key = (prompt, sample.id) if control.edit else prompt
        merged.setdefault(key, (prompt, []))[1].append(sample)
    jobs = [Job(prompt, len(model.tokens(prompt)), tuple(asking)) for prompt, asking in merged.values()]
    jobs.sort(key=lambda job: -job.n_tokens)
    return [jobs[start : start + batch_size] for start in range(0, len(jobs), batch_size)]


def generate_batch(
    model: Model,
    batch: Sequence[Job],
    control_of: ControlOf,
    decoding: Decoding,
    on_step: Callable[[], None] = lambda: None,
) -> list[Generation]:
    """The replies to a batch, in its order; ``on_step`` is called after every token."""
    inputs = model.encode([job.prompt for job in batch])
    edits = [control_of(job.samples[0]).edit for job in batch]
    rows = intervene.generate(model, inputs, edits, decoding, on_step)
    generations = []
    for row in rows.tolist():
        text, n_tokens = model.decode(row)
        generations.append(Generation(text, n_tokens, ended=n_tokens < decoding.max_new_tokens))
    return generations
