"""Model x Control x samples -> generations, in batches that are the same however often a run is interrupted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from emobench import intervene
from emobench.controllers import Named, Setting
from emobench.discovery.artifact import artifact_for
from emobench.models import Model
from emobench.registry import unknown
from emobench.sites import Sites
from emobench.types import SITES, Addition, Control, Decoding, Sample, UserError

ControlOf = Callable[[Sample], Control]


def asking(model: Model, named: Named, seed: int, artifact: Path | None) -> tuple[ControlOf, Setting]:
    """How to ask a controller about a sample, and the setting it sees, which notes what it used."""
    setting = Setting(
        named.name, model.sites.n_layers, model.sites.d_model, seed, lambda: artifact_for(model, artifact)
    )
    return lambda sample: _checked(named.instance.control(sample, setting), named.name, model.sites), setting


def _checked(control: Control, name: str, sites: Sites) -> Control:
    """A controller's answer, if it can be carried out on this model."""
    if not isinstance(control, Control):
        raise UserError(f"the controller {name} answered {control!r}; return emobench.Control(messages, edit).")
    for message in control.messages:
        if not isinstance(message, dict) or set(message) != {"role", "content"}:
            raise UserError(f"the controller {name} sends {message!r}; a message has 'role' and 'content' alone.")
    for addition in control.edit:
        _check_addition(addition, name, sites)
    return control


def _check_addition(addition: Addition, name: str, sites: Sites) -> None:
    if addition.site not in SITES:
        raise unknown(f"site of the controller {name}", str(addition.site), SITES)
    if not 0 <= addition.layer < sites.n_layers:
        raise UserError(
            f"the controller {name} edits layer {addition.layer}; this model has layers 0 to {sites.n_layers - 1}."
        )
    if addition.positions not in ("last", "all"):
        raise unknown(f"positions of the controller {name}", str(addition.positions), ("last", "all"))
    if tuple(addition.vector.shape) != (sites.width(addition.site),):
        raise UserError(
            f"the controller {name} adds a vector of shape {tuple(addition.vector.shape)} at {addition.site}; "
            f"this model takes ({sites.width(addition.site)},) there."
        )


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


def controls_for(batch: Sequence[Job], control_of: ControlOf) -> list[Control]:
    """The control of each job of a batch."""
    return [control_of(job.samples[0]) for job in batch]


def generate_batch(
    model: Model,
    batch: Sequence[Job],
    controls: Sequence[Control],
    decoding: Decoding,
    on_step: Callable[[], None] = lambda: None,
) -> list[Generation]:
    """The replies to a batch under its controls, in its order; ``on_step`` is called after every token."""
    inputs = model.encode([job.prompt for job in batch])
    rows = intervene.generate(model, inputs, [control.edit for control in controls], decoding, on_step)
    generations = []
    for row in rows.tolist():
        text, n_tokens = model.decode(row)
        generations.append(Generation(text, n_tokens, ended=n_tokens < decoding.max_new_tokens))
    return generations
