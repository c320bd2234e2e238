"""From a sample to chat messages: the paper's two system messages (method, "Terms")."""

from __future__ import annotations

from emobench.types import Message, Sample

BRIEF = "Keep the reply to at most two sentences."


def neutral_messages(sample: Sample) -> list[Message]:
    """The prompt that names no emotion: what every controller but prompting sends."""
    return [{"role": "system", "content": BRIEF}, {"role": "user", "content": sample.text}]


def elicitation_messages(sample: Sample) -> list[Message]:
    """The prompt that asks for the target emotion by name."""
    system = f"Always reply in {sample.target}.\n{BRIEF}"
    return [{"role": "system", "content": system}, {"role": "user", "content": sample.text}]
