"""Intervals: what they count, and that they cover."""

import numpy as np
import pytest

from emobench.stats import clustered_share, expression
from emobench.types import DEGENERATE, Verdict


def test_degenerate_counts_as_not_expressed_and_other_unscored_are_left_out():
    verdicts = [Verdict("fear"), Verdict("anger"), Verdict(None, {}, DEGENERATE), Verdict(None, {}, "no answer")]
    score = expression(verdicts, ["fear"] * 4, list("abcd"))
    assert (score.value, score.n, score.unscored, score.degenerate) == (pytest.approx(1 / 3), 3, 1, 1)


def test_nothing_scored_is_none_not_zero():
    assert expression([Verdict(None, {}, "no answer")], ["fear"], ["a"]).value is None


def test_one_cluster_has_no_interval():
    assert clustered_share([True, False], ["a", "a"]) == (0.5, None, None)


def test_copies_of_an_outcome_within_a_cluster_add_nothing():
    once = clustered_share([True, False, True, False, True], list("abcde"))
    copied = clustered_share(
        [o for o in (True, False, True, False, True) for _ in range(9)],
        list("abcde" * 9 and [c for c in "abcde" for _ in range(9)]),
    )
    assert copied == pytest.approx(once, abs=0.02)


@pytest.mark.parametrize("outcome", [True, False])
def test_without_variation_a_cluster_counts_once(outcome):
    share, low, high = clustered_share([outcome] * 80, [str(i % 8) for i in range(80)])
    assert share == float(outcome)
    assert 0.3 < high - low < 0.5


@pytest.mark.parametrize(("scenarios", "concentration"), [(40, 3.0), (160, 3.0)])
def test_the_interval_covers_where_one_for_independent_replies_does_not(scenarios, concentration):
    """Replies of a scenario share its difficulty (a beta distribution): 95 % intervals must hold the true share."""
    generator, true, trials, replies = np.random.default_rng(7), 0.4, 1000, 18
    clusters = [str(i) for i in range(scenarios) for _ in range(replies)]
    ours = naive = 0
    for _ in range(trials):
        rates = generator.beta(true * concentration, (1 - true) * concentration, scenarios)
        outcomes = generator.random((scenarios, replies)) < rates[:, None]
        share, low, high = clustered_share(outcomes.ravel().tolist(), clusters)
        ours += low <= true <= high
        half = 1.96 * np.sqrt(share * (1 - share) / outcomes.size)
        naive += share - half <= true <= share + half
    assert 0.93 <= ours / trials <= 0.97
    assert naive / trials < 0.75
