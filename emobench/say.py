"""One message, answered without control and under a controller."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emobench.controllers import Named
from emobench.generate import ControlOf, asking, controls_for, generate_batch, plan_batches
from emobench.models import Model
from emobench.prompts import neutral_messages
from emobench.types import Control, Decoding, Sample


def replies(
    model: Model, text: str, named: Named, emotions: Sequence[str], decoding: Decoding, artifact: Path | None
) -> tuple[str, dict[str, str]]:
    """(the uncontrolled reply, the controlled one by emotion), decoded in the same way."""
    samples = [Sample(text, "", "neutral", emotion, "", emotion) for emotion in emotions]
    control_of, _ = asking(model, named, 0, artifact)
    plain = _answers(model, samples[:1], lambda sample: Control(neutral_messages(sample)), decoding)
    controlled = _answers(model, samples, control_of, decoding)
    return plain[emotions[0]], controlled


def _answers(model: Model, samples: Sequence[Sample], control_of: ControlOf, decoding: Decoding) -> dict[str, str]:
    answers: dict[str, str] = {}
    for batch in plan_batches(model, samples, control_of, len(samples)):
        generations = generate_batch(model, batch, controls_for(batch, control_of), decoding)
        for job, generation in zip(batch, generations, strict=True):
            answers |= {sample.target: generation.text for sample in job.samples}
    return answers
