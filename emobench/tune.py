"""Choose a controller's strength for each emotion on validation scenarios; the test split is never read."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from emobench.classify import Classifier
from emobench.controllers import controller_name, load_controller, tuning_grid
from emobench.discovery.artifact import Artifact
from emobench.evaluation import evaluate
from emobench.models import Model
from emobench.progress import Progress
from emobench.runs import replace_text, writing
from emobench.sev import Task
from emobench.types import EMOTIONS, Decoding


def least_sufficient(curve: Mapping[str, float | None], replies: int) -> float:
    """The least strength whose expression accuracy is within one standard error of the best one's."""
    share = {float(strength): value or 0.0 for strength, value in curve.items()}
    best = max(share.values())
    shrunk = (best * replies + 2) / (replies + 4)  # Agresti and Coull: the plain error is zero at shares of 0 and 1
    error = math.sqrt(shrunk * (1 - shrunk) / (replies + 4))
    return min(strength for strength, value in share.items() if value >= best - error)


def tune(
    model: Model,
    task: Task,
    controller: str,
    classifier: Classifier,
    artifact: Artifact,
    out: Path,
    *,
    limit: int | None,
    decoding: Decoding,
    batch_size: int,
    seed: int,
    progress: Progress,
) -> dict[str, Any]:
    """Evaluate the controller's grid and choose a strength for each emotion by `least_sufficient`.

    The replies are kept under ``out`` as in any run, so an interrupted search goes on. The choice and the curve it
    rests on are written to the artifact's ``strengths.json``.

    Raises:
        UserError: the controller has no strength to choose.
    """
    grid = tuning_grid(controller)
    candidates = {strength: load_controller(controller, {"strength": str(strength)}) for strength in grid}
    summary = evaluate(
        model,
        task,
        list(candidates.values()),
        classifier,
        out,
        limit=limit,
        decoding=decoding,
        batch_size=batch_size,
        seed=seed,
        artifact=artifact.path,
        progress=progress,
    )
    curve = {
        emotion: {
            str(strength): summary["controllers"][named.label]["scores"][emotion]["value"]
            for strength, named in candidates.items()
        }
        for emotion in EMOTIONS
    }
    replies = len(task.samples(limit)) // len(EMOTIONS)
    chosen = {emotion: least_sufficient(curve[emotion], replies) for emotion in EMOTIONS}
    config = summary["config"]
    result = {
        "chosen": chosen,
        "curve": curve,
        "rule": least_sufficient.__doc__,
        "replies_each": replies,
        **{key: config[key] for key in ("task", "limit", "decoding", "classifier", "batch_size", "seed")},
    }
    strengths = {**artifact.strengths, controller_name(controller): result}
    with writing(artifact.path):
        replace_text(artifact.path / "strengths.json", json.dumps(dict(sorted(strengths.items())), indent=1) + "\n")
    return result
