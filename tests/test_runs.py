"""The record: interrupted at any moment, a run goes on and ends with the same bytes; a folder holds one run."""

import json
import random
import subprocess
import sys
import time

import pytest

from emobench.classify import load_classifier
from emobench.controllers import load_controller
from emobench.evaluation import evaluate
from emobench.runs import RunFolder
from emobench.sev import load_task
from emobench.types import Decoding, UserError

SHORT = Decoding(max_new_tokens=12, min_new_tokens=2)
TIMING = "timing.jsonl"


@pytest.fixture(scope="module")
def classifier():
    return load_classifier()


@pytest.fixture
def run(tiny, sev_file, classifier):
    """Evaluate some controllers on a tiny model."""

    def go(out, *names, limit=None, batch_size=5, decoding=SHORT):
        controllers = [load_controller(name) for name in names]
        return evaluate(
            tiny("llama"),
            load_task(str(sev_file)),
            controllers,
            classifier,
            out,
            limit=limit,
            decoding=decoding,
            batch_size=batch_size,
        )

    return go


def contents(folder):
    """Every file but the timings, by path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != TIMING
    }


def test_a_record_holds_every_reply_with_its_scores(run, tmp_path):
    summary = run(tmp_path / "r", "none", "prompting")
    rows = [json.loads(line) for line in (tmp_path / "r/prompting/replies.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in rows}) == len(rows) == 36
    first = rows[0]
    assert first["messages"][0]["content"].startswith(f"Always reply in {first['target']}.")
    assert {"reply", "label", "probabilities", "unscored", "tokens", "ended"} <= set(first)
    scores = summary["controllers"]["prompting"]["scores"]
    assert scores["overall"]["n"] == 36
    assert scores["by_valence"]["fear"]["negative"]["n"] == 2
    assert summary["config"]["model"]["hash"]
    assert summary["config"]["task"]["hash"]
    assert summary["versions"]["torch"]
    timing = [json.loads(line) for line in (tmp_path / "r/prompting" / TIMING).read_text().splitlines()]
    assert sum(row["tokens"] for row in timing) == sum(row["tokens"] for row in rows)


def test_without_an_edit_one_prompt_is_answered_once(run, tmp_path):
    run(tmp_path / "r", "none")
    rows = [json.loads(line) for line in (tmp_path / "r/none/replies.jsonl").read_text().splitlines()]
    timing = [json.loads(line) for line in (tmp_path / "r/none" / TIMING).read_text().splitlines()]
    assert len(rows) == 36
    assert sum(row["tokens"] for row in timing) == sum(row["tokens"] for row in rows) / 6


@pytest.mark.parametrize("cut", [0, 1, 300, 2500, 9000])
def test_a_file_cut_anywhere_is_completed_to_the_same_bytes(run, tmp_path, cut):
    run(tmp_path / "whole", "prompting")
    run(tmp_path / "cut", "prompting")
    replies = tmp_path / "cut/prompting/replies.jsonl"
    replies.write_bytes(replies.read_bytes()[:cut])
    (tmp_path / "cut/summary.json").unlink()
    run(tmp_path / "cut", "prompting")
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_a_finished_run_is_not_computed_again(run, tmp_path, monkeypatch):
    first = run(tmp_path / "r", "none")
    monkeypatch.setattr("emobench.evaluation.generate_batch", lambda *_: pytest.fail("generated again"))
    assert run(tmp_path / "r", "none") == first


def test_a_controller_added_later_stands_beside_the_first(run, tmp_path):
    run(tmp_path / "r", "none")
    summary = run(tmp_path / "r", "prompting")
    assert list(summary["controllers"]) == ["prompting", "none"]


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"limit": 1}, "limit: None there, 1 now"),
        ({"batch_size": 6}, "batch_size: 5 there, 6 now"),
        ({"decoding": Decoding(max_new_tokens=9)}, "decoding.max_new_tokens: 12 there, 9 now"),
    ],
)
def test_another_run_in_the_folder_is_refused_naming_the_difference(run, tmp_path, change, names):
    run(tmp_path / "r", "none")
    with pytest.raises(UserError, match=f"holds another run .{names}"):
        run(tmp_path / "r", "none", **change)


def test_replies_of_a_controller_set_up_otherwise_are_refused(tmp_path):
    folder = RunFolder.open(tmp_path, {"seed": 0})
    folder.log("mine", {"source": "one"})
    folder.log("mine", {"source": "none yet"})  # without replies nothing would be mixed
    folder.log("mine", {"source": "one"}).append([{"id": "a"}], {})
    with pytest.raises(UserError, match=r"set up otherwise .source: 'one' there, 'two' now"):
        folder.log("mine", {"source": "two"})


def test_replies_to_other_samples_are_refused(run, tmp_path):
    run(tmp_path / "r", "none")
    replies = tmp_path / "r/none/replies.jsonl"
    replies.write_text(replies.read_text().replace("s0/", "s9/"))
    with pytest.raises(UserError, match="does not hold the replies this run would write"):
        run(tmp_path / "r", "none")


def test_a_full_disk_is_one_sentence_and_loses_nothing(run, tmp_path):
    """A limit on file size stands in for a disk that fills while the run is under way."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, before[1]))
    try:
        with pytest.raises(UserError, match=r"no space left on the disk .* run the same command again"):
            run(tmp_path / "r", "prompting")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert (tmp_path / "r/prompting/replies.jsonl").stat().st_size > 0
    run(tmp_path / "r", "prompting")
    run(tmp_path / "whole", "prompting")
    assert contents(tmp_path / "r") == contents(tmp_path / "whole")


def test_no_free_disk_is_told_before_any_work(run, tmp_path, monkeypatch):
    monkeypatch.setattr("emobench.resources.shutil.disk_usage", lambda _: type("Usage", (), {"free": 10}))
    with pytest.raises(UserError, match="this run needs 0 MB of free disk"):
        run(tmp_path / "r", "none")


@pytest.mark.slow
def test_a_run_killed_ten_times_ends_with_the_same_bytes(tiny_folder, sev_file, tmp_path):
    """SIGKILL at random moments after each bit of progress, as a machine that loses power would."""

    def command(out):
        flags = ["--task", str(sev_file), "--model", str(tiny_folder("llama")), "--device", "cpu"]
        flags += ["--controller", "none", "--controller", "prompting", "--batch-size", "2", "--max-new-tokens", "40"]
        return [sys.executable, "-m", "emobench", "evaluate", *flags, "--out", str(out)]

    def written():
        return sum(path.stat().st_size for path in (tmp_path / "cut").rglob("replies.jsonl"))

    generator = random.Random(0)
    for _ in range(10):
        before = written()
        process = subprocess.Popen(command(tmp_path / "cut"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while process.poll() is None and written() == before:
            time.sleep(0.01)
        time.sleep(generator.uniform(0, 0.2))
        assert process.poll() is None, "there must be work left to interrupt"
        process.kill()
        process.wait()
    for out in ("cut", "whole"):
        subprocess.run(command(tmp_path / out), check=True, capture_output=True)
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")
