"""What the README shows runs, as it stands there."""

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from emobench.cli import app
from emobench.report.table import score_table

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def commands(kind):
    """The lines of the README's ``sh`` blocks marked with ``kind``."""
    blocks = re.findall(r"^```sh ?(\w*)\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    return [line for mark, text in blocks if mark == kind for line in text.splitlines()]


def run(line, cwd):
    """Run an ``emobench`` line as a user would type it."""
    words = shlex.split(line)
    assert words[0] == "emobench"
    return subprocess.run([sys.executable, "-m", *words], cwd=cwd, capture_output=True, text=True)


@pytest.mark.parametrize("line", [line for line in commands("") if line.startswith("emobench")])
def test_commands_run(line, tmp_path):
    found = run(line, tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip()


@pytest.mark.parametrize("line", [line for line in commands("") if line.startswith("make")])
def test_make_targets_exist(line):
    subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("line", commands("gpu") + commands("full"))
def test_longer_commands_are_spelled_right(line):
    """They need a GPU, the network or an hour; every option in them must exist."""
    words = shlex.split(line)[1:]
    found = CliRunner().invoke(app, [*words, "--help"])
    assert found.exit_code == 0
    for option in (word for word in words if word.startswith("--")):
        assert option in found.output, option


def test_the_shown_baseline_works(tmp_path):
    (code,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    (line,) = commands("baseline")
    (tmp_path / "nudge.py").write_text(code, encoding="utf-8")
    found = run(line, tmp_path)
    assert found.returncode == 0, found.stderr
    assert "nudge[strength=1.0]" in found.stdout


def test_set_up_is_what_the_makefile_does():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("--quiet --disable-pip-version-check ", "")
    for line in commands("setup")[1:]:
        assert line in makefile


def test_the_table_is_the_records():
    record = ROOT / "leaderboard" / "results" / "SmolLM2-135M-Instruct.test-limit-8.json"
    assert score_table(json.loads(record.read_text(encoding="utf-8"))) in README
