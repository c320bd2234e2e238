"""The circuit artifact: what discovery found in one model, as safetensors and JSON.

DIR/artifact.json        format, model, data, configuration, versions, selected neurons and heads
DIR/tensors.safetensors  float32, emotions in the order of EMOTIONS:
    direction.resid_mid, direction.resid_post   (emotion, layer, d_model)  unit vectors, stage 2
    difference.z                                (emotion, layer, H * d_head)  stage 5
    difference.a                                (emotion, layer, d_mlp)
    applied.attn_out = W_O (Δz on the selected heads)       (emotion, layer, d_model)  stage 9
    applied.mlp_out  = W_down (Δa on the selected neurons)  (emotion, layer, d_model)
    sigma.resid_mid, sigma.resid_post           (layer,)  stage 6
DIR/strengths.json       by controller, the strengths chosen on validation and the evidence; added by tuning
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from emobench.discovery.circuit import FIRST_HEADS, FIRST_NEURONS, Budget, default_budget, select
from emobench.discovery.components import head_importances, neuron_contributions
from emobench.discovery.directions import RESIDUAL, Means, groups_of, mean_activations
from emobench.models import Model
from emobench.progress import Progress
from emobench.resources import file_hash, shipped
from emobench.sev import Task
from emobench.sites import weight
from emobench.types import EMOTIONS, UserError
from emobench.versions import package_versions

FORMAT = 1


@dataclass(frozen=True, eq=False)
class Artifact:
    """A loaded artifact. ``hash`` is over its JSON and tensors; strengths are added later and recorded by value."""

    path: Path
    about: dict[str, Any]
    tensors: dict[str, Tensor]
    strengths: dict[str, Any]
    hash: str

    def vectors(self, name: str, emotion: str) -> Float[Tensor, "layer width"]:
        """One emotion's rows of a tensor, say ``vectors("applied.attn_out", "fear")``."""
        return self.tensors[name][EMOTIONS.index(emotion)]


def discover(
    model: Model, task: Task, limit: int | None, budget: int | None, batch_groups: int, progress: Progress
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Stages 2 to 6 and 8: two passes over the groups, then ranks, allocation and the applied vectors.

    Layer weights are uniform (stage 7, sublayer importance, is not computed), and all groups are used (stage 1's
    acceptance keeps hardly any on a small model); the record says both.
    """
    groups = groups_of(task.samples(limit))
    total = default_budget(model.sites) if budget is None else budget
    if total < 1:
        raise UserError(f"the budget must be at least 1 component, not {total}; leave it out for a scaled one.")
    split = Budget.of(total)
    with progress.task("recording activations", len(groups)) as advance:
        means = mean_activations(model, groups, batch_groups, advance)
    with progress.task("ranking heads", len(groups)) as advance:
        heads = head_importances(model, groups, means.direction("resid_mid"), batch_groups, advance)
    neurons = neuron_contributions(model, means)
    uniform = [1.0] * model.sites.n_layers
    chosen = {
        emotion: {
            "neurons": select(neurons[e], uniform, split.neurons, FIRST_NEURONS),
            "heads": select(heads[e], uniform, split.heads, FIRST_HEADS),
        }
        for e, emotion in enumerate(EMOTIONS)
    }
    about = {
        "format": FORMAT,
        "model": {"name": model.name, "hash": model.hash, "source": model.origin, "revision": model.revision},
        "data": {"task": task.name, "hash": task.hash, "groups": len(groups), "limit": limit},
        "config": {
            "accepted": "all",
            "layer_weights": "uniform",
            "budget": total,
            "budget_by_kind": asdict(split),
            "batch_groups": batch_groups,
            "dtype": model.dtype_name,
            "device": model.device.type,
            "folded_system": model.folds_system,
        },
        "versions": package_versions(),
        "circuit": chosen,
    }
    return about, _tensors(model, means, chosen)


def _tensors(model: Model, means: Means, chosen: dict[str, Any]) -> dict[str, Tensor]:
    tensors = {f"direction.{site}": means.direction(site) for site in RESIDUAL}
    tensors |= {f"sigma.{site}": means.rms[site] for site in RESIDUAL}
    z, a = means.difference("z"), means.difference("a")
    tensors |= {"difference.z": z, "difference.a": a}
    for name, difference, kind, projection, width in (
        ("applied.attn_out", z, "heads", model.sites.o_proj, model.sites.d_head),
        ("applied.mlp_out", a, "neurons", model.sites.down_proj, 1),
    ):
        kept = torch.zeros_like(difference)
        for e, emotion in enumerate(EMOTIONS):
            for layer, components in enumerate(chosen[emotion][kind]):
                units = _units(components, width)
                kept[e, layer, units] = difference[e, layer, units]
        tensors[name] = torch.stack(
            [
                kept[:, layer] @ weight(projection(layer)).detach().cpu().double().T
                for layer in range(model.sites.n_layers)
            ],
            dim=1,
        )
    return {name: tensor.float().contiguous() for name, tensor in sorted(tensors.items())}


def _units(components: Sequence[int], width: int) -> list[int]:
    """The activations that belong to some components, each ``width`` wide."""
    return [component * width + i for component in components for i in range(width)]


def save_artifact(path: Path, about: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Write an artifact; strengths chosen for another circuit are removed."""
    path.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path / "tensors.safetensors")
    (path / "strengths.json").unlink(missing_ok=True)
    (path / "artifact.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def load_artifact(path: Path) -> Artifact:
    """Read an artifact.

    Raises:
        UserError: not an artifact, damaged, or of a newer format.
    """
    try:
        about = json.loads((path / "artifact.json").read_text(encoding="utf-8"))
        tensors = load_file(path / "tensors.safetensors")
        tuned = path / "strengths.json"
        strengths = json.loads(tuned.read_text(encoding="utf-8")) if tuned.is_file() else {}
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(
            f"{path} is not a circuit artifact (no artifact.json with tensors.safetensors); "
            "make one with `emobench discover`."
        ) from None
    except (json.JSONDecodeError, SafetensorError, UnicodeDecodeError) as error:
        raise UserError(f"the artifact {path} is damaged ({error}); make it again with `emobench discover`.") from error
    if about.get("format") != FORMAT:
        raise UserError(
            f"the artifact {path} has format {about.get('format')}, this emobench reads {FORMAT}; "
            "make it again with `emobench discover`."
        )
    files = (path / "artifact.json", path / "tensors.safetensors")
    digest = hashlib.sha256("".join(map(file_hash, files)).encode()).hexdigest()
    return Artifact(path, about, tensors, strengths, digest)


def artifact_for(model: Model, path: Path | None) -> Artifact:
    """The artifact at ``path``, else the model's own: ``artifacts/<model>`` here, else the shipped one.

    Raises:
        UserError: it belongs to another model (both are named), or there is none.
    """
    if path is not None:
        artifact = load_artifact(path)
        of = artifact.about["model"]
        if of["hash"] != model.hash:
            raise UserError(
                f"the artifact {path} was discovered in {of['name']} ({of['hash'][:12]}), not in {model.name} "
                f"({model.hash[:12]}); run `emobench discover` on {model.name}, or name its artifact."
            )
        return artifact
    for folder in (Path("artifacts") / model.name, shipped("artifacts") / model.name):
        if folder.is_dir():
            artifact = load_artifact(folder)
            if artifact.about["model"]["hash"] == model.hash:
                return artifact
    raise UserError(
        f"there is no circuit artifact for {model.name} ({model.hash[:12]}); make one with `emobench discover"
        f"{'' if model.source == 'embedded' else f' --model {model.source}'}`, or name one with --artifact."
    )
