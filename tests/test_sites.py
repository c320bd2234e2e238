"""Every supported architecture passes the self-check; anything else is refused by name."""

from dataclasses import replace

import pytest
import torch
from conftest import TINY
from transformers import AutoConfig, AutoModelForCausalLM

from emobench import models, sites
from emobench.types import UserError


def test_the_table_and_the_tests_cover_the_same_architectures():
    assert set(TINY) == set(sites.ARCHITECTURES)


@pytest.mark.parametrize("kind", TINY)
def test_sites_resolve_and_pass_the_self_check(tiny, kind):
    model = tiny(kind)  # load_model runs the self-check
    found = model.sites
    assert (found.n_layers, found.d_model, found.n_heads, found.d_head, found.d_mlp) == (3, 32, 4, 8, 48)


def test_a_structure_of_another_kind_fails_the_self_check(tiny):
    model = tiny("gemma2")
    without_post_norms = replace(model.sites, architecture=replace(sites.GEMMA, attn_post_norm=None))
    with pytest.raises(UserError, match="resid_mid of layer 0 differs"):
        models.self_check(replace(model, sites=without_post_norms))


def test_a_site_read_at_the_wrong_module_fails_the_self_check(tiny):
    model = tiny("llama")
    swapped = replace(model.sites, architecture=replace(sites.LLAMA, mid_norm="input_layernorm"))
    with pytest.raises(UserError, match="another order"):
        models.self_check(replace(model, sites=swapped))
    models.self_check(model)  # the failed trace left nothing behind


def test_an_unknown_architecture_is_refused_by_name():
    config = AutoConfig.for_model(
        "gpt_neox", vocab_size=50, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16
    )
    with pytest.raises(UserError, match=r"GPTNeoXForCausalLM.*gpt_neox.*known are llama"):
        sites.resolve_sites(AutoModelForCausalLM.from_config(config))


def test_a_missing_module_is_named_with_what_is_there(tiny):
    hf = tiny("llama").hf
    known = dict(sites.ARCHITECTURES)
    try:
        sites.ARCHITECTURES["llama"] = replace(sites.LLAMA, down_proj="mlp.c_proj")
        with pytest.raises(UserError, match=r"no module 'model.layers.0.mlp.c_proj'; its layers hold self_attn, mlp"):
            sites.resolve_sites(hf)
    finally:
        sites.ARCHITECTURES.update(known)


def test_conv1d_weights_read_as_out_by_in(tiny):
    projection = tiny("gpt2").sites.down_proj(0)
    a = torch.randn(48)
    assert torch.allclose(sites.weight(projection) @ a + projection.bias, projection(a), atol=1e-5)
