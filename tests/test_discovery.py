"""Discovery against the naive loops on tiny models, and against the authors' own numbers where they are at hand."""

import json

import numpy as np
import pytest
import torch
from conftest import TINY

from emobench import intervene
from emobench.discovery import artifact as artifacts
from emobench.discovery.circuit import Budget, allocate, default_budget, select
from emobench.discovery.components import head_importances, neuron_contributions
from emobench.discovery.directions import groups_of, mean_activations
from emobench.progress import Progress
from emobench.prompts import elicitation_messages
from emobench.sev import load_task
from emobench.sites import weight
from emobench.types import EMOTIONS, UserError

ORACLE_TOLERANCE = 1e-5
QUIET = Progress(quiet=True)


def ignore(amount):
    """A progress bar that shows nothing."""


def largest_error(found, wanted):
    return float(np.abs(np.asarray(found) - wanted).max() / np.abs(wanted).max())


@pytest.fixture(scope="module")
def groups(samples):
    return groups_of(samples)


def test_groups_hold_the_six_emotions_in_order(groups):
    assert len(groups) == 6
    assert all([sample.target for sample in group] == list(EMOTIONS) for group in groups)


def test_directions_are_unit_and_differences_sum_to_zero(tiny, groups):
    means = mean_activations(tiny("llama"), groups, 2, ignore)
    assert torch.allclose(means.direction("resid_post").norm(dim=-1), torch.ones(6, 3, dtype=torch.float64))
    assert means.difference("z").sum(0).abs().max() < 1e-9


@pytest.mark.parametrize("kind", TINY)
def test_means_do_not_depend_on_batching(tiny, groups, kind):
    one, many = (mean_activations(tiny(kind), groups, size, ignore) for size in (1, 4))
    for site in one.activation:
        assert torch.allclose(one.activation[site], many.activation[site], atol=1e-5)


@pytest.mark.parametrize("kind", TINY)
def test_head_importance_equals_masking_the_head_and_running_again(tiny, groups, kind):
    model = tiny(kind)
    means = mean_activations(model, groups[:2], 1, ignore)
    v = means.direction("resid_mid")
    closed = head_importances(model, groups[:2], v, 2, ignore)
    v = v.float()
    sites, naive = model.sites, torch.zeros_like(closed)
    for group in groups[:2]:
        for e, sample in enumerate(group):
            inputs = model.encode([model.render(elicitation_messages(sample))])
            for layer in range(sites.n_layers):
                whole = normed(model, inputs, layer) @ v[e, layer]
                for head in range(sites.n_heads):
                    part = slice(head * sites.d_head, (head + 1) * sites.d_head)

                    def mask(_, args, part=part):
                        z = args[0].clone()
                        z[:, -1, part] = 0
                        return (z,)

                    with sites.o_proj(layer).register_forward_pre_hook(mask):
                        naive[e, layer, head] += float(whole - normed(model, inputs, layer) @ v[e, layer]) / 2
    assert largest_error(closed, naive.numpy()) < 1e-4


@torch.no_grad()
def normed(model, inputs, layer):
    """The MLP's input at the last token, from a whole forward pass."""
    kept = []
    with model.sites.mid_norm(layer).register_forward_hook(lambda _, args, out: kept.append(out[0, -1])):
        model.hf(**inputs)
    return kept[0]


@pytest.mark.parametrize("kind", ["llama", "gpt2"])
def test_neuron_contribution_equals_the_mean_over_samples(tiny, groups, kind):
    model = tiny(kind)
    means = mean_activations(model, groups[:2], 1, ignore)
    v, total = means.direction("resid_post").float(), torch.zeros(6, 3, model.sites.d_mlp)
    for group in groups[:2]:
        for e, sample in enumerate(group):
            a = intervene.record(model, model.encode([model.render(elicitation_messages(sample))]), ["a"])["a"][0]
            for layer in range(3):
                total[e, layer] += a[layer] * (weight(model.sites.down_proj(layer)).T @ v[e, layer]).detach() / 2
    assert largest_error(neuron_contributions(model, means), total.numpy()) < 1e-4


def test_allocation_spends_the_budget_within_its_bounds():
    generator = np.random.default_rng(0)
    for _ in range(200):
        layers, budget = int(generator.integers(2, 40)), int(generator.integers(1, 600))
        available = int(generator.integers(1, 60))
        plan = allocate(budget, generator.normal(size=layers).tolist(), available, 4)
        assert sum(plan) <= min(budget, layers * available)
        assert all(0 <= count <= available for count in plan)


def test_uniform_weights_share_evenly():
    assert allocate(120, [1.0] * 30, 1536, 4) == [4] * 30
    assert allocate(10, [0.0] * 4, 50, 1) == [3, 3, 2, 2]


def test_selection_prefers_the_higher_rank_and_the_lower_index_on_ties():
    assert select(torch.tensor([[1.0, 3.0, 3.0, 2.0]] * 3), [1.0] * 3, 9, 1) == [[1, 2, 3]] * 3


def test_the_published_budget_is_split_as_published():
    assert Budget.of(560) == Budget(392, 168)


def test_the_default_budget_gives_every_layer_its_first_share(tiny):
    budget = Budget.of(default_budget(tiny("llama").sites))
    assert budget.neurons >= 4 * 3


def test_directions_differences_and_contributions_equal_the_authors(embedded, shared):
    reference = np.load(shared / "oracle" / "discovery.npz")
    groups = groups_of(load_task(str(shared / "oracle" / "sev_three_scenarios.jsonl")).samples())
    means = mean_activations(embedded, groups, 4, ignore)
    found = {
        **{f"directions_{site}": means.direction(site) for site in ("resid_mid", "resid_post")},
        **{f"difference_{site}": means.difference(site) for site in ("z", "a")},
        **{f"sigma_{site}": means.rms[site] for site in ("resid_mid", "resid_post")},
        "neuron_contribution": neuron_contributions(embedded, means),
    }
    assert set(found) == set(reference.files)
    for name, value in found.items():
        assert largest_error(value, reference[name]) < ORACLE_TOLERANCE, name


def test_head_importances_equal_the_authors(embedded, shared):
    reference = np.load(shared / "oracle" / "importance.npz")
    groups = groups_of(load_task(str(shared / "oracle" / "sev_three_scenarios.jsonl")).samples())[:3]

    # the directions that the reference used, which its code had rounded to float16
    given = torch.tensor(reference["directions_resid_mid_used"]).double()
    found = head_importances(embedded, groups, given, 3, ignore)
    assert largest_error(found, reference["head_importance"]) < ORACLE_TOLERANCE


def test_allocation_and_selection_equal_the_reference(shared):
    importance = np.load(shared / "oracle" / "importance.npz")
    neurons = np.load(shared / "oracle" / "discovery.npz")["neuron_contribution"]
    reference = json.loads((shared / "oracle" / "allocation.json").read_text())
    attention, mlp = importance["sublayer_importance"].mean(-1).transpose(1, 0, 2)
    for e, emotion in enumerate(EMOTIONS):
        wanted = reference[emotion]
        assert select(torch.tensor(neurons[e]), mlp[e].tolist(), 392, 4) == wanted["mlp"]["neurons"]
        heads = select(torch.tensor(importance["head_importance"][e]), attention[e].tolist(), 168, 2)
        assert heads == wanted["attention"]["heads"]


def discovered(model, path, limit=None):
    found = artifacts.discover(model, load_task("validation"), limit, None, 2, QUIET)
    artifacts.save_artifact(path, *found)
    return artifacts.load_artifact(path)


def test_an_artifact_is_the_same_bytes_each_time(tiny, tmp_path):
    one, two = (discovered(tiny("qwen3"), tmp_path / name, 1) for name in ("one", "two"))
    assert one.hash == two.hash
    for name in ("artifact.json", "tensors.safetensors"):
        assert (one.path / name).read_bytes() == (two.path / name).read_bytes()


def test_the_applied_vectors_are_the_projected_differences(tiny, tmp_path):
    model = tiny("llama")
    found = discovered(model, tmp_path / "a", 1)
    chosen = found.about["circuit"]["fear"]
    z, a = found.vectors("difference.z", "fear"), found.vectors("difference.a", "fear")
    for layer in range(3):
        kept_z, kept_a = torch.zeros_like(z[layer]), torch.zeros_like(a[layer])
        for head in chosen["heads"][layer]:
            kept_z[head * 8 : head * 8 + 8] = z[layer, head * 8 : head * 8 + 8]
        kept_a[chosen["neurons"][layer]] = a[layer, chosen["neurons"][layer]]
        for name, kept, projection in (
            ("applied.attn_out", kept_z, model.sites.o_proj(layer)),
            ("applied.mlp_out", kept_a, model.sites.down_proj(layer)),
        ):
            wanted = weight(projection) @ kept
            assert torch.allclose(found.vectors(name, "fear")[layer], wanted, atol=1e-5)


def test_an_artifact_of_another_model_is_refused_naming_both(tiny, tmp_path):
    discovered(tiny("llama"), tmp_path / "a", 1)
    one, other = tiny("llama"), tiny("qwen2")
    with pytest.raises(UserError, match=f"in {one.name} .*not in {other.name} "):
        artifacts.artifact_for(other, tmp_path / "a")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: (path / "tensors.safetensors").write_bytes(b"nonsense"), "damaged"),
        (lambda path: (path / "artifact.json").write_text("{"), "damaged"),
        (lambda path: (path / "artifact.json").write_text('{"format": 99}'), "format 99"),
        (lambda path: (path / "artifact.json").unlink(), "not a circuit artifact"),
    ],
)
def test_a_damaged_artifact_is_refused(tiny, tmp_path, damage, message):
    found = discovered(tiny("llama"), tmp_path / "a", 1)
    damage(found.path)
    with pytest.raises(UserError, match=message):
        artifacts.load_artifact(found.path)


def test_the_shipped_artifact_is_the_embedded_models(embedded):
    shipped = artifacts.artifact_for(embedded, None)
    assert shipped.about["model"]["hash"] == embedded.hash
    assert shipped.about["data"]["hash"] == load_task("discovery").hash
    assert {"circuit", "steering"} <= set(shipped.strengths)
    assert all(tuned["task"]["hash"] == load_task("validation").hash for tuned in shipped.strengths.values())
