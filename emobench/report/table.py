"""The table on standard output: a row a controller."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tabulate import tabulate, tabulate_formats

from emobench.registry import unknown
from emobench.types import EMOTIONS


def check_style(style: str) -> None:
    """Refuse a table format that tabulate does not know; it would print another without a word."""
    if style not in tabulate_formats:
        raise unknown("table format", style, tabulate_formats)


def score_table(summary: Mapping[str, Any], style: str = "simple") -> str:
    """Expression accuracy in percent: overall with its interval, each emotion, n, degenerate and unscored replies.

    Args:
        summary: a run's ``summary.json``.
        style: a format of tabulate's, say ``simple`` or ``github``.
    """
    rows = []
    for label, entry in summary["controllers"].items():
        overall = entry["scores"]["overall"]
        rows.append(
            [
                label,
                _percent(overall["value"]),
                _interval(overall),
                *(_percent(entry["scores"][emotion]["value"]) for emotion in EMOTIONS),
                overall["n"],
                overall["degenerate"],
                overall["unscored"],
            ]
        )
    headers = ["controller", "overall", "95 % interval", *EMOTIONS, "n", "degenerate", "unscored"]
    alignment = ("left", *["right"] * (len(headers) - 1))
    return tabulate(rows, headers, tablefmt=style, colalign=alignment, disable_numparse=True)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f}"


def _interval(score: Mapping[str, Any]) -> str:
    return "–" if score["low"] is None else f"{100 * score['low']:.1f} to {100 * score['high']:.1f}"


def curve_table(tuned: Mapping[str, Any]) -> str:
    """Expression accuracy in percent against strength, a row an emotion, with the strength chosen."""
    strengths = list(next(iter(tuned["curve"].values())))
    rows = [
        [emotion, *(_percent(tuned["curve"][emotion][s]) for s in strengths), f"{tuned['chosen'][emotion]:g}"]
        for emotion in EMOTIONS
    ]
    return tabulate(
        rows,
        ["strength", *strengths, "chosen"],
        tablefmt="simple",
        colalign=("left", *["right"] * (len(strengths) + 1)),
        disable_numparse=True,
    )
