"""The algebra of recording and editing, on a tiny model of every architecture and on the embedded one."""

import pytest
import torch
from conftest import TINY

from emobench import intervene
from emobench.prompts import elicitation_messages, neutral_messages
from emobench.types import SITES, Addition, Decoding

SHORT = Decoding(max_new_tokens=12, min_new_tokens=4)


def prompts_of(model, samples):
    return [model.render(neutral_messages(sample)) for sample in samples]


def widths(model):
    s = model.sites
    return {"z": s.n_heads * s.d_head, "a": s.d_mlp}


def random_edit(model, seed, scale=1.0):
    """One addition at every site of the middle layer, last and all positions, relative and not."""
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        Addition(
            site,
            1,
            scale * torch.randn(widths(model).get(site, model.sites.d_model), generator=generator),
            positions="all" if n % 2 else "last",
            relative=n % 3 == 0,
        )
        for n, site in enumerate(SITES)
    )


@pytest.mark.parametrize("kind", TINY)
def test_strength_zero_changes_nothing(tiny, samples, kind):
    model = tiny(kind)
    inputs = model.encode(prompts_of(model, samples[:6]))
    plain = intervene.generate(model, inputs, [()] * 6, SHORT)
    assert torch.equal(plain, intervene.generate(model, inputs, [random_edit(model, 0, 0.0)] * 6, SHORT))


@pytest.mark.parametrize("kind", TINY)
def test_a_batch_of_different_edits_equals_each_row_alone(tiny, samples, kind):
    model = tiny(kind)
    prompts = [model.render(elicitation_messages(sample)) for sample in samples[4:12]]
    edits = [random_edit(model, seed) for seed in range(8)]
    assert len({len(model.tokens(prompt)) for prompt in prompts}) > 1, "padding must be at work"
    batch = intervene.generate(model, model.encode(prompts), edits, SHORT)
    plain = intervene.generate(model, model.encode(prompts), [()] * 8, SHORT)
    assert not torch.equal(batch, plain), "the edits must be at work"
    for prompt, edit, row in zip(prompts, edits, batch, strict=True):
        alone = intervene.generate(model, model.encode([prompt]), [edit], SHORT)[0]
        assert model.decode(row.tolist()) == model.decode(alone.tolist())


@pytest.mark.parametrize("kind", TINY)
@pytest.mark.parametrize("site", SITES)
def test_an_edit_adds_its_vector_where_it_says(tiny, samples, kind, site):
    """Against plain torch hooks, an independent way to make the same edit."""
    model = tiny(kind)
    inputs = model.encode(prompts_of(model, samples[:3]))
    vector = torch.randn(widths(model).get(site, model.sites.d_model), generator=torch.Generator().manual_seed(1))
    ours = intervene.generate(model, inputs, [(Addition(site, 1, vector, "last"),)] * 3, SHORT)

    path, side = model.sites.locate(site, 1)
    if site == "resid_mid":  # a hook on the norm would miss the residual branch: edit what attention adds to it
        after = model.sites.architecture.attn_post_norm or model.sites.architecture.o_proj
        path, side = f"{model.sites.architecture.layers}.1.{after}", "output"
    module = model.sites.module(path)

    def add(x):
        x = x.clone()
        x[:, -1] += vector
        return x

    if side == "output":
        handle = module.register_forward_hook(lambda _, args, out: add(out))
    else:
        handle = module.register_forward_pre_hook(lambda _, args: (add(args[0]), *args[1:]))
    with handle:
        reference = intervene.generate(model, inputs, [()] * 3, SHORT)
    assert torch.equal(ours, reference)
    assert not torch.equal(ours, intervene.generate(model, inputs, [()] * 3, SHORT))


def test_recording_a_batch_equals_recording_each_prompt_alone(tiny, samples):
    model = tiny("llama")
    prompts = [model.render(elicitation_messages(sample)) for sample in samples[:12]]
    batch = intervene.record(model, model.encode(prompts))
    for row, prompt in enumerate(prompts):
        alone = intervene.record(model, model.encode([prompt]))
        for site in SITES:
            assert torch.allclose(batch[site][row], alone[site][0], atol=1e-5)


def test_a_relative_addition_is_scaled_by_what_it_is_added_to():
    x = torch.randn(2, 3, 5)
    vectors = torch.randn(2, 1, 5)
    edited = x.clone()
    intervene._add(edited, intervene._BatchEdit("", "output", vectors, last=True, relative=True))
    assert torch.equal(edited[:, :-1], x[:, :-1])
    rms = x[:, -1:].pow(2).mean(-1, keepdim=True).sqrt()
    assert torch.allclose(edited[:, -1:], x[:, -1:] + vectors * rms)


def test_the_last_layer_is_recorded_after_the_final_norm(embedded, samples):
    inputs = embedded.encode(prompts_of(embedded, samples[:2]))
    hidden = embedded.hf(**inputs, output_hidden_states=True).hidden_states
    recorded = intervene.record(embedded, inputs, ["resid_post"])["resid_post"]
    assert torch.allclose(recorded[:, -1], hidden[-1][:, -1], rtol=1e-4, atol=1e-4)


def test_an_error_inside_a_pass_leaves_no_edit_behind(tiny, samples):
    model = tiny("llama")
    inputs = model.encode(prompts_of(model, samples[:2]))
    before = intervene.generate(model, inputs, [()] * 2, SHORT)

    def fail():
        raise ValueError("the first cause")

    with pytest.raises(ValueError, match="the first cause"):
        intervene.generate(model, inputs, [random_edit(model, 0)] * 2, SHORT, on_step=fail)
    assert torch.equal(before, intervene.generate(model, inputs, [()] * 2, SHORT))


def test_batched_replies_of_the_embedded_model_equal_single_ones(embedded, samples):
    """Mixed emotions, circuit-sized edits, float32: token for token."""
    decoding = Decoding(max_new_tokens=24)
    vectors = torch.randn(6, embedded.sites.d_model, generator=torch.Generator().manual_seed(0))
    edits = [
        tuple(Addition("attn_out", layer, 0.05 * vectors[row % 6], "all") for layer in range(10, 20))
        for row in range(12)
    ]
    prompts = [embedded.render(elicitation_messages(sample)) for sample in samples[:12]]
    batch = intervene.generate(embedded, embedded.encode(prompts), edits, decoding)
    same = 0
    for prompt, edit, row in zip(prompts, edits, batch, strict=True):
        alone = intervene.generate(embedded, embedded.encode([prompt]), [edit], decoding)[0]
        same += embedded.decode(row.tolist()) == embedded.decode(alone.tolist())
    assert same == len(prompts)
