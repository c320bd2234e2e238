"""SEV files: the built-in splits, samples, and the sentence for every kind of bad line."""

import json
from collections import Counter

import pytest

from emobench import load_sev
from emobench.sev import load_task, splits
from emobench.types import EMOTIONS, VALENCES, UserError


def test_the_three_splits_are_there_and_share_no_scenario():
    assert {"discovery", "validation", "test"} <= set(splits())
    texts = {name: {r.scenario for r in load_task(name).records} for name in ("discovery", "validation", "test")}
    ids = [r.skeleton_id for name in texts for r in load_task(name).records]
    assert len(ids) == len(set(ids))
    assert not texts["test"] & (texts["discovery"] | texts["validation"])


@pytest.mark.parametrize("name", ["discovery", "validation", "test"])
def test_every_split_has_the_eight_themes_in_equal_parts(name):
    themes = Counter(record.theme for record in load_task(name).records)
    assert len(themes) == 8
    assert len(set(themes.values())) == 1


@pytest.mark.parametrize("name", ["discovery", "validation", "test"])
def test_sentences_keep_to_the_published_lengths(name):
    for record in load_task(name).records:
        assert 8 <= len(record.scenario.split()) <= 22, record.scenario
        assert not record.scenario.endswith(".")
        for event in record.event.values():
            assert 10 <= len(event.split()) <= 25, event
            assert event.endswith(".")


def test_a_scenario_gives_eighteen_samples(sev_file):
    samples = load_task(str(sev_file)).samples()
    assert len(samples) == 2 * len(VALENCES) * len(EMOTIONS)
    assert len({sample.id for sample in samples}) == len(samples)
    assert samples[0].text == "I handed in a form\nThe clerk stamped it and gave the fee back."


def test_a_limit_takes_the_themes_in_turn():
    samples = load_task("test").samples(8)
    assert len({sample.theme for sample in samples}) == 8
    assert len({sample.skeleton_id for sample in samples}) == 8


@pytest.mark.parametrize("limit", [0, -3])
def test_a_limit_below_one_is_refused(sev_file, limit):
    with pytest.raises(UserError, match=f"at least 1 scenario, not {limit}"):
        load_task(str(sev_file)).samples(limit)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda r: r.pop("scenario"), "field 'scenario' is missing"),
        (lambda r: r.update(theme=3), "field 'theme' is missing or not a text"),
        (lambda r: r["event"].pop("neutral"), "field 'event.neutral' is missing"),
        (lambda r: r.update(event="good"), "field 'event' must be an object"),
        (lambda r: r.update(skeleton_id="s0"), "field 'skeleton_id' repeats 's0' of line 1"),
    ],
)
def test_a_bad_record_is_named_by_file_line_and_field(sev_file, change, message):
    lines = [json.loads(line) for line in sev_file.read_text().splitlines()]
    change(lines[1])
    sev_file.write_text("\n".join(map(json.dumps, lines)))
    with pytest.raises(UserError, match=f"two.jsonl, line 2: {message}"):
        load_task(str(sev_file))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{not json}\n", "line 1: not JSON"),
        (b"[1, 2]\n", "line 1: a SEV record is a JSON object, not list"),
        (b"\n\n", "holds no SEV records"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_a_file_that_is_no_sev_file_is_refused(tmp_path, content, message):
    path = tmp_path / "bad.jsonl"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message):
        load_task(str(path))


def test_an_unknown_task_offers_the_nearest():
    with pytest.raises(UserError, match="unknown task 'tset'; did you mean 'test'"):
        load_task("tset")
    with pytest.raises(UserError, match=r"no task file missing\.jsonl"):
        load_task("missing.jsonl")


def test_load_sev_gives_a_dataset_with_a_fixed_fingerprint():
    rows = load_sev("validation")
    assert rows.column_names == ["theme", "scenario", "event", "skeleton_id"]
    assert rows[0]["event"].keys() == set(VALENCES)
    assert rows._fingerprint == load_sev("validation")._fingerprint == load_task("validation").hash[:16]


def test_the_published_file_loads_unchanged(shared):
    assert len(load_task(str(shared / "sev" / "published_sev.jsonl")).samples()) == 2880


def test_no_sentence_of_ours_is_the_published_ones(shared):
    published = load_task(str(shared / "sev" / "published_sev.jsonl")).records
    theirs = {text.lower() for record in published for text in [record.scenario, *record.event.values()]}
    for name in splits():
        for record in load_task(name).records:
            assert not {text.lower() for text in [record.scenario, *record.event.values()]} & theirs
