"""The command line as a user meets it: sentences and exit codes, help without torch."""

import json
import re
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from emobench.cli import app, main
from emobench.types import EMOTIONS


def emobench(*arguments, monkeypatch, capsys):
    """(exit code, standard output, standard error) of a command, in this process."""
    monkeypatch.setattr(sys, "argv", ["emobench", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    captured = capsys.readouterr()
    return ended.value.code, captured.out, captured.err


@pytest.fixture
def cli(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: emobench(*arguments, monkeypatch=monkeypatch, capsys=capsys)


def test_help_and_version_do_not_load_torch():
    for flag in ("--help", "--version"):
        code = (
            f"import sys; sys.argv = ['emobench', '{flag}']\n"
            "from emobench.cli import main\n"
            "try: main()\n"
            "finally: assert not {'torch', 'transformers', 'nnsight', 'scipy'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


@pytest.mark.parametrize("verb", ["evaluate", "say", "discover", "tune", "ls"])
def test_every_verb_leads_its_help_with_an_example(verb):
    out = CliRunner().invoke(app, [verb, "--help"]).output
    assert out.index(f"emobench {verb}", out.index("\n")) < out.index("Options")


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("controllers", ["none", "prompting", "steering", "circuit"]),
        ("tasks", ["discovery", "validation", "test"]),
        ("classifiers", ["builtin"]),
        ("models", ["SmolLM2", "gemma2"]),
    ],
)
def test_ls(cli, what, expected):
    code, out, _ = cli("ls", what)
    assert code == 0
    assert all(name in out for name in expected)


EVALUATE = ("evaluate", "--controller", "none")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("evaluate", "--controller", "circut"), "unknown controller 'circut'; did you mean 'circuit'"),
        (("evaluate",), "Missing option '--controller'"),
        ((*EVALUATE, "--task", "tset"), "unknown task 'tset'; did you mean 'test'"),
        ((*EVALUATE, "--task", "gone.jsonl"), "no task file gone.jsonl"),
        ((*EVALUATE, "--classifier", "bultin"), "unknown classifier 'bultin'; did you mean 'builtin'"),
        ((*EVALUATE, "--limit", "-4"), "at least 1 scenario, not -4"),
        ((*EVALUATE, "--batch-size", "0"), "greater than or equal to 1"),
        ((*EVALUATE, "--dtype", "float31"), "unknown dtype 'float31'"),
        ((*EVALUATE, "--device", "tpu"), "unknown device 'tpu'"),
        ((*EVALUATE, "--model", "./nowhere"), "./nowhere is neither a model folder"),
        ((*EVALUATE, "--model", "gone.gguf"), "no GGUF file gone.gguf"),
        ((*EVALUATE, "--model", "no-such-owner/no-such-model"), "hub model 'no-such-owner/no-such-model' cannot be"),
        ((*EVALUATE, "--set", "strength=3"), "not of the form"),
        ((*EVALUATE, "--format", "githob"), "unknown table format 'githob'; did you mean 'github'"),
        ((*EVALUATE, "--artefact", "x"), "--artefact"),
        (
            ("say", "Hello", "--controller", "circuit", "--emotion", "angr"),
            "unknown emotion 'angr'; did you mean 'anger'",
        ),
        (("tune", "--controller", "none"), "none has no strength"),
        (("ls", "controler"), "unknown list 'controler'; did you mean 'controllers'"),
        (("evalute",), "evalute"),
    ],
)
def test_a_users_mistake_is_one_sentence_and_exit_code_2(cli, arguments, sentence):
    code, out, err = cli(*arguments)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in out + err
    assert len(err.strip().splitlines()) == 1


def test_a_model_without_a_chat_template_is_refused(cli, tiny_folder, tmp_path):
    import shutil

    bare = tmp_path / "bare"
    shutil.copytree(tiny_folder("llama"), bare)
    (bare / "chat_template.jinja").unlink()
    code, _, err = cli(*EVALUATE, "--model", bare)
    assert code == 2
    assert "has no chat template" in err


def test_a_model_without_an_artifact_says_how_to_make_one(cli, tiny_folder, sev_file):
    code, _, err = cli("evaluate", "--controller", "circuit", "--task", sev_file, "--model", tiny_folder("gpt2"))
    assert code == 2
    assert "no circuit artifact" in err
    assert f"emobench discover --model {tiny_folder('gpt2')}" in err


def test_evaluate_prints_the_table_and_keeps_the_record(cli, tiny_folder, sev_file, tmp_path):
    flags = ["--task", sev_file, "--model", tiny_folder("llama"), "--max-new-tokens", "8", "--limit", "1"]
    code, out, err = cli("evaluate", "--controller", "none", "--controller", "prompting", *flags)
    assert code == 0
    lines = out.splitlines()
    assert re.split(r"\s{2,}", lines[0])[:4] == ["controller", "overall", "95 % interval", "anger"]
    assert [line.split()[0] for line in lines[2:4]] == ["none", "prompting"]
    assert "replies to generate" in err
    assert "\x1b" not in out + err, "no bars or colours where standard error is no terminal"
    record = tmp_path / "runs" / tiny_folder("llama").name / "two-limit-1"
    assert json.loads((record / "summary.json").read_text())["controllers"]["none"]["scores"]["overall"]["n"] == 18


def test_discover_tune_and_evaluate_follow_on_each_other(cli, tiny_folder, sev_file, tmp_path):
    model = ["--model", tiny_folder("qwen2")]
    code, out, _ = cli("discover", *model, "--task", sev_file)
    assert (code, "neurons and" in out) == (0, True)
    short = ["--task", sev_file, "--max-new-tokens", "6", "--limit", "1"]
    code, out, _ = cli("tune", "--controller", "circuit", *model, *short)
    assert code == 0
    assert out.splitlines()[0].split()[-1] == "chosen"
    chosen = json.loads((tmp_path / "artifacts" / tiny_folder("qwen2").name / "strengths.json").read_text())
    tuned = chosen["circuit"]
    assert set(tuned["chosen"]) == set(tuned["curve"]) == set(EMOTIONS)
    assert tuned["task"]["name"] == "two"
    code, _, _ = cli("evaluate", "--controller", "circuit", *model, *short, "--out", "r")
    assert code == 0
    config = json.loads((tmp_path / "r" / "circuit" / "config.json").read_text())
    assert config["strengths"]["fear"] == {"value": tuned["chosen"]["fear"], "origin": "chosen on two"}


def test_say_shows_both_replies_as_they_are(cli, tiny_folder, sev_file):
    model = ["--model", tiny_folder("llama")]
    cli("discover", *model, "--task", sev_file)
    code, out, _ = cli("say", "My [bold]train[/bold] was late", "--controller", "circuit", "--strength", "2", *model)
    assert code == 0
    assert "without control" in out
    assert all(emotion in out for emotion in ("anger", "disgust"))
    code, out, _ = cli("say", "Hello", "--controller", "circuit", "--emotion", "fear", *model, "--max-new-tokens", "5")
    assert (code, "fear" in out, "anger" in out) == (0, True, False)
