"""The builtin classifier: what it tells apart, and text that is no reply."""

import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from emobench.classify import load_classifier
from emobench.classify.degenerate import degeneracy
from emobench.types import DEGENERATE, EMOTIONS, LABELS, UserError

PLAIN = {
    "anger": "How dare they cancel it again without a word! I am furious, and somebody had better answer for this.",
    "sadness": "My heart is heavy and I cannot stop the tears. Everything we built together is gone now.",
    "happiness": "What wonderful news, I am so happy for you! Go and celebrate, you have earned every bit of it!",
    "fear": "Oh no, what if they come back tonight? My hands are trembling and I am terrified of what happens next.",
    "surprise": "Wait, what? I never saw that coming, I am completely astonished that it turned up after all this!",
    "disgust": "Ugh, the smell of it makes me gag. That slimy, filthy mess is utterly revolting.",
    "neutral": "You can send the form to the office by post. They usually reply within two weeks.",
}

DEGENERATE_TEXTS = [
    "anger anger anger anger anger anger anger anger anger anger anger anger",
    "fear terror dread horror panic fright terror fear dread horror panic fright",
    "sad sorrow grief misery tears heartbreak gloom woe despair lonely crying weeping",
    "",
    "Oh no.",
    "...!!! *** 12 34 ;;;; {} [] () <> == :: 0x00 #### ++++ ----",
    "def f(x): return x + 1; print(f(2)); for i in range(10): a[i] = b[i] * c[i] // d[i] % 3",
    "Ich bin sehr traurig, weil mein Zug heute wieder nicht gekommen ist und niemand etwas gesagt hat.",
    "我很难过因为火车又晚点了没有人告诉我们任何消息真的很难过",
    "I am so angry. I am so angry. I am so angry. I am so angry. I am so angry. I am so angry. I am so angry.",
]


@pytest.fixture(scope="module")
def builtin():
    return load_classifier()


def test_plain_replies_are_told_apart(builtin):
    verdicts = builtin.classify(list(PLAIN.values()))
    assert [verdict.label for verdict in verdicts] == list(PLAIN)


def test_probabilities_are_named_and_sum_to_one(builtin):
    for verdict in builtin.classify(list(PLAIN.values())):
        assert tuple(verdict.probabilities) == LABELS
        assert sum(verdict.probabilities.values()) == pytest.approx(1)


def test_no_texts_give_no_verdicts(builtin):
    assert builtin.classify([]) == []


def test_a_verdict_does_not_depend_on_its_neighbours(builtin):
    together = builtin.classify(list(PLAIN.values()))
    for verdict, text in zip(together, PLAIN.values(), strict=True):
        alone = builtin.classify([text])[0]
        assert alone.probabilities == pytest.approx(verdict.probabilities, abs=1e-4)


@pytest.mark.parametrize("text", DEGENERATE_TEXTS)
def test_degenerate_text_is_unscored(builtin, text):
    verdict = builtin.classify([text])[0]
    assert (verdict.label, verdict.unscored) == (None, DEGENERATE)


@pytest.mark.parametrize("text", PLAIN.values())
def test_a_plain_reply_is_not_degenerate(text):
    assert degeneracy(text) is None


def test_an_unknown_classifier_is_refused():
    with pytest.raises(UserError, match="unknown classifier 'bultin'; did you mean 'builtin'"):
        load_classifier("bultin")


def test_the_card_tells_what_was_measured(builtin):
    measured = builtin.card["cross_validation"]
    confusion = np.array(measured["confusion"])
    assert confusion.sum() == builtin.card["rows"]
    assert measured["accuracy"] == pytest.approx(np.trace(confusion) / confusion.sum(), abs=1e-3)


def test_published_replies_are_hardly_ever_called_degenerate(shared):
    rows = [json.loads(line) for line in (shared / "labels" / "prompted_sev.jsonl").read_text().splitlines()]
    assert np.mean([degeneracy(row["text"]) is not None for row in rows]) < 0.005


def test_verdicts_agree_with_published_ones_far_beyond_chance(builtin, shared):
    """Measured, never trained on: every tenth reply, prompted ones that the published judge accepted (chance: 1/6)
    and steered ones with its yes or no (chance: 0.5)."""

    rows = [json.loads(line) for line in (shared / "labels" / "prompted_sev.jsonl").read_text().splitlines()][::10]
    rows = [row for row in rows if row["match"] == 1]
    verdicts = builtin.classify([row["text"] for row in rows])
    six = [max(EMOTIONS, key=v.probabilities.__getitem__) == r["target"] for v, r in zip(verdicts, rows, strict=True)]
    assert np.mean(six) > 0.6
    rows = [json.loads(line) for line in (shared / "labels" / "steered_half.jsonl").read_text().splitlines()][::10]
    verdicts = builtin.classify([row["text"] for row in rows])
    shares = [v.probabilities[r["target"]] for v, r in zip(verdicts, rows, strict=True)]
    assert roc_auc_score([row["match"] for row in rows], shares) > 0.8
