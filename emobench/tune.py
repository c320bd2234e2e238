"""Choose a controller's strength for each emotion on validation scenarios; the test split is never read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emobench.classify import Classifier
from emobench.controllers import load_controller, tuning_grid
from emobench.discovery.artifact import Artifact
from emobench.evaluation import evaluate
from emobench.models import Model
from emobench.progress import Progress
from emobench.runs import writing
from emobench.sev import Task
from emobench.types import EMOTIONS, Decoding


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
    """Evaluate the controller's grid; for each emotion take the strength that expresses most, the least on ties.

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
    chosen = {
        emotion: float(max(grid, key=lambda strength: (curve[emotion][str(strength)] or 0.0, -strength)))
        for emotion in EMOTIONS
    }
    config = summary["config"]
    result = {
        "chosen": chosen,
        "curve": curve,
        "replies_each": len(task.samples(limit)) // len(EMOTIONS),
        **{key: config[key] for key in ("task", "limit", "decoding", "classifier", "batch_size", "seed")},
    }
    strengths = {**artifact.strengths, Path(controller).stem: result}
    with writing(artifact.path):
        text = json.dumps(dict(sorted(strengths.items())), indent=1) + "\n"
        (artifact.path / "strengths.json").write_text(text, encoding="utf-8")
    return result
