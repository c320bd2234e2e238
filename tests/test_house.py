"""The house keeps its shape: top level, import rules, one wheel that works outside the checkout."""

import os
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOP = {
    *("pyproject.toml", "emobench", "tasks", "baselines", "leaderboard", "tests"),
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "LICENSE", "Makefile"),
    *("constraints.txt", "requirements-embedded.txt", ".ci", ".gitignore"),
}


def tracked():
    try:
        found = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return found.stdout.splitlines()


def test_the_top_level_holds_what_it_should():
    assert {path.split("/")[0] for path in tracked()} == TOP


def test_imports_keep_to_the_contract():
    found = subprocess.run([Path(sys.executable).parent / "lint-imports"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0, found.stdout


def test_emobench_names_no_baseline():
    """Nothing in the package knows a controller by name; "circuit" is also what an artifact holds."""
    import ast

    names = {path.stem for path in (ROOT / "baselines").glob("*.py")} - {"none", "circuit"}
    for path in (ROOT / "emobench").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert node.value not in names, f"{path}: {node.value!r}"


def test_constraints_pin_every_requirement():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = {
        line.split("==")[0].lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().splitlines()
    }
    for requirement in [*project["dependencies"], *project["optional-dependencies"]["dev"]]:
        assert requirement.split(">")[0].split("[")[0].lower() in pinned


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel, unpacked as an installer would, far from the checkout."""
    built = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", built, ROOT],
        check=True,
        capture_output=True,
    )
    site = tmp_path_factory.mktemp("site")
    with zipfile.ZipFile(next(built.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    return site


def outside(site, code, cwd):
    environment = {**os.environ, "PYTHONPATH": str(site)}
    return subprocess.run([sys.executable, "-P", "-c", code], cwd=cwd, env=environment, capture_output=True, text=True)


def test_the_wheel_finds_its_baselines_tasks_and_artifacts(installed, tmp_path):
    code = (
        "import emobench, sys; from pathlib import Path\n"
        f"assert Path(emobench.__file__).is_relative_to({str(installed)!r}), emobench.__file__\n"
        "from emobench.controllers import controller_files, load_controller\n"
        "from emobench.sev import load_task\n"
        "from emobench.resources import shipped\n"
        "assert load_controller('circuit').name == 'circuit'\n"
        f"assert all(p.is_relative_to({str(installed)!r}) for p in controller_files().values())\n"
        "assert len(load_task('test').records) >= 8\n"
        "assert list(shipped('artifacts').glob('*/tensors.safetensors'))\n"
        "from emobench.classify import load_classifier\n"
        "assert load_classifier().classify(['I am so furious about this, how dare they!'])[0].label == 'anger'\n"
    )
    found = outside(installed, code, tmp_path)
    assert found.returncode == 0, found.stderr


def test_baselines_and_tasks_are_no_import_names(installed):
    assert {path.name.split("-")[0] for path in installed.iterdir()} == {"emobench"}
