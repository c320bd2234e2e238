"""One conformance test that every baseline passes, and the sentences for a controller that is none."""

import dataclasses
import hashlib

import pytest
import torch

from emobench import EMOTIONS, Addition, Control, Setting
from emobench.controllers import controller_files, load_controller, parse_settings, strength_grid
from emobench.discovery.artifact import Artifact
from emobench.generate import asking
from emobench.types import SITES, UserError

LAYERS, WIDTH = 5, 16


@pytest.fixture
def setting(tmp_path):
    """A model of five layers with a random artifact."""

    def make(name, strengths=None):
        generator = torch.Generator().manual_seed(0)
        names = ["direction.resid_mid", "direction.resid_post", "applied.attn_out", "applied.mlp_out"]
        tensors = {n: torch.randn(6, LAYERS, WIDTH, generator=generator) for n in names}
        artifact = Artifact(tmp_path, {"model": {}}, tensors, strengths or {}, "0" * 64)
        return Setting(name, LAYERS, WIDTH, 0, lambda: artifact)

    return make


def fingerprint(control):
    return (
        str(control.messages),
        [
            (a.site, a.layer, a.positions, a.relative, hashlib.sha256(a.vector.numpy().tobytes()).hexdigest())
            for a in control.edit
        ],
    )


@pytest.mark.parametrize("name", controller_files())
def test_every_baseline_conforms(name, setting, samples):
    named = load_controller(name)
    assert named.name == named.label == name
    assert dataclasses.is_dataclass(named.instance)
    for sample in samples[:18]:
        control = named.instance.control(sample, setting(name))
        assert isinstance(control, Control)
        assert control.messages
        assert control.messages[-1]["role"] == "user"
        assert all(set(m) == {"role", "content"} and m["content"] for m in control.messages)
        assert sample.scenario in control.messages[-1]["content"]
        for addition in control.edit:
            assert isinstance(addition, Addition)
            assert addition.site in SITES
            assert 0 <= addition.layer < LAYERS
            assert addition.positions in ("last", "all")
            assert torch.isfinite(addition.vector).all()
        again = load_controller(name).instance.control(sample, setting(name))
        assert fingerprint(again) == fingerprint(control), "the answer depends on the sample and the setting alone"


@pytest.mark.parametrize("name", controller_files())
def test_strength_zero_is_no_edit(name, setting, samples):
    if strength_grid(type(load_controller(name).instance)) is None:
        pytest.skip("has no strength")
    named = load_controller(name, {"strength": "0"})
    for sample in samples[:6]:
        assert all(not a.vector.any() for a in named.instance.control(sample, setting(name)).edit)


@pytest.mark.parametrize("name", controller_files())
def test_a_baseline_imports_only_public_names(name):
    import ast

    tree = ast.parse(controller_files()[name].read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "emobench":
            assert node.module == "emobench"
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("emobench") for alias in node.names)


def test_strength_is_the_given_one_else_the_tuned_one_else_the_controllers_own(setting, samples):
    sample = samples[0]
    tuned = {"circuit": {"chosen": dict.fromkeys(EMOTIONS, 4.0), "task": {"name": "validation"}}}
    for given, strengths, value, origin in [
        (2.0, tuned, 2.0, "set"),
        (None, tuned, 4.0, "chosen on validation"),
        (None, {}, 1.5, "the controller's own"),
    ]:
        here = setting("circuit", strengths)
        assert here.strength(given, sample, otherwise=1.5) == value
        assert here.strengths[sample.target] == {"value": value, "origin": origin}


def test_the_label_names_the_changed_parameters():
    assert load_controller("circuit", {"strength": "3"}).label == "circuit[strength=3.0]"


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("circut", {}, "unknown controller 'circut'; did you mean 'circuit'"),
        ("nowhere/mine.py", {}, "no controller file nowhere/mine.py"),
        ("circuit", {"strenght": "3"}, "unknown parameter of circuit 'strenght'; did you mean 'strength'"),
        ("circuit", {"strength": "much"}, "circuit.strength cannot be 'much'"),
        ("none", {"strength": "3"}, "none has no parameters"),
    ],
)
def test_a_wrong_name_or_parameter_is_one_sentence(name, parameters, message):
    with pytest.raises(UserError, match=message):
        load_controller(name, parameters)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("x = 1\n", "defines no controllers"),
        ("import nothing_of_this_name\n", "does not load: ModuleNotFoundError"),
        ("def broken(:\n", "does not load: SyntaxError"),
        ("from emobench import controller\n@controller\nclass C:\n    pass\n", "has no method control"),
        (
            "from emobench import controller\n"
            + "".join(f"@controller\nclass C{i}:\n    def control(self, sample, setting): ...\n" for i in range(2)),
            "defines 2 controllers",
        ),
    ],
)
def test_a_file_without_one_controller_is_refused(tmp_path, source, message):
    path = tmp_path / "mine.py"
    path.write_text(source)
    with pytest.raises(UserError, match=message):
        load_controller(str(path))


def test_a_users_file_cannot_pass_for_a_builtin_controller(tmp_path):
    path = tmp_path / "circuit.py"
    path.write_text("")
    with pytest.raises(UserError, match="name of the built-in controller 'circuit'; rename"):
        load_controller(str(path))


def test_settings_are_parsed_and_checked():
    assert parse_settings(["circuit.strength=3", "mine.x=a=b"], ["circuit", "dir/mine.py"]) == {
        "circuit": {"strength": "3"},
        "mine": {"x": "a=b"},
    }
    with pytest.raises(UserError, match="not of the form"):
        parse_settings(["strength=3"], ["circuit"])
    with pytest.raises(UserError, match="unknown controller in --set 'circiut'; did you mean 'circuit'"):
        parse_settings(["circiut.strength=3"], ["circuit"])


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("None", "answered None; return emobench.Control"),
        ("Control([{'role': 'user', 'text': 'Hi'}])", "a message has 'role' and 'content' alone"),
        ("Control(m, (Addition('resid_pots', 0, v),))", "unknown site of the controller mine 'resid_pots'; did you"),
        ("Control(m, (Addition('resid_post', 9, v),))", "edits layer 9; this model has layers 0 to 2"),
        ("Control(m, (Addition('a', 0, v),))", r"shape \(32,\) at a; this model takes \(48,\)"),
        ("Control(m, (Addition('z', 0, v, 'first'),))", "unknown positions of the controller mine 'first'"),
    ],
)
def test_an_answer_that_cannot_be_carried_out_is_one_sentence(tiny, tmp_path, samples, answer, message):
    path = tmp_path / "mine.py"
    path.write_text(
        "import torch\nfrom emobench import Addition, Control, controller, neutral_messages\n"
        "@controller\nclass Mine:\n    def control(self, sample, setting):\n"
        f"        m, v = neutral_messages(sample), torch.ones(setting.d_model)\n        return {answer}\n"
    )
    control_of, _ = asking(tiny("llama"), load_controller(str(path)), 0, None)
    with pytest.raises(UserError, match=message):
        control_of(samples[0])
