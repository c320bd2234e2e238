"""The nouns of emobench: frozen data classes that every other module speaks. Imports nothing of emobench."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

EMOTIONS = ("anger", "sadness", "happiness", "fear", "surprise", "disgust")
LABELS = (*EMOTIONS, "neutral")
VALENCES = ("positive", "neutral", "negative")

Message = dict[str, str]
"""One chat message: ``{"role": ..., "content": ...}``."""

Site = Literal["z", "attn_out", "resid_mid", "a", "mlp_out", "resid_post"]
"""A place in a layer, in the order in which a forward pass reaches it.

``z``: input of o_proj (H * d_head); ``attn_out``: its output (d_model); ``resid_mid``: residual stream after
attention; ``a``: input of down_proj (d_mlp); ``mlp_out``: its output; ``resid_post``: residual stream after the MLP.
"""
SITES: tuple[Site, ...] = ("z", "attn_out", "resid_mid", "a", "mlp_out", "resid_post")

DEGENERATE = "degenerate"
"""Reason of a verdict withheld because the text is no language (a loop, a flood of keywords): not expressed."""


class UserError(Exception):
    """A mistake of the user's: one sentence that names the value, the nearest valid choice and what to do next."""


@dataclass(frozen=True)
class Sample:
    """One question to a controller: a scenario, one of its three outcomes, and the emotion to express."""

    scenario: str
    event: str
    valence: str
    target: str
    theme: str
    skeleton_id: str

    @property
    def id(self) -> str:
        return f"{self.skeleton_id}/{self.valence}/{self.target}"

    @property
    def text(self) -> str:
        """The user's message (method, "Terms"): scenario, newline, event."""
        return f"{self.scenario}\n{self.event}" if self.event else self.scenario


@dataclass(frozen=True, eq=False)
class Addition:
    """Add ``vector`` to the activations at ``site`` of ``layer`` while the model generates.

    Attributes:
        site: where, see `Site`.
        layer: 0 is the first.
        vector: shape (width of the site,), already scaled by the strength.
        positions: ``last`` edits the last position of every forward pass, ``all`` every position of the pass.
        relative: multiply the vector by the root mean square of what it is added to.
    """

    site: Site
    layer: int
    vector: Tensor
    positions: Literal["last", "all"] = "last"
    relative: bool = False


@dataclass(frozen=True, eq=False)
class Control:
    """A controller's answer to a sample: the messages to send and the edit to make while the model replies."""

    messages: list[Message]
    edit: tuple[Addition, ...] = ()


@dataclass(frozen=True)
class Decoding:
    """How replies are decoded: greedily, and in the same way for every controller of a run.

    The paper's code sets a repetition penalty for steering (1.05) and circuits (1.1) and none for prompting; here one
    setting serves all, so that a difference between two rows of a table is a difference between their controllers.
    """

    max_new_tokens: int = 100
    min_new_tokens: int = 10
    repetition_penalty: float = 1.1
    no_repeat_ngram_size: int = 3


@dataclass(frozen=True)
class Verdict:
    """What a classifier says of a reply: a label with the probabilities of all seven, or unscored and why."""

    label: str | None
    probabilities: Mapping[str, float] = field(default_factory=dict)
    unscored: str | None = None

    def __post_init__(self) -> None:
        assert (self.label is None) != (self.unscored is None), "a verdict has a label or a reason for having none"


@dataclass(frozen=True)
class Score:
    """A share of replies with its 95 % interval; ``value`` is None where nothing could be scored."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    unscored: int
    degenerate: int
