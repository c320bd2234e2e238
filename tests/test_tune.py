"""Which strength a curve asks for."""

import pytest

from emobench.tune import least_sufficient


@pytest.mark.parametrize(
    ("shares", "chosen"),
    [
        ([0.0, 0.3, 0.5, 0.8, 1.0, 1.0], 5),  # more strength than is needed is not taken
        ([0.1, 0.2, 0.4, 0.88, 0.96, 1.0], 5),  # within one standard error of the best
        ([0.0, 0.0, 0.0, 0.0, 0.0, 0.0], 1),  # nothing works: the least
        ([0.2, 0.1, 0.1, 0.0, 0.1, 0.9], 6),
        ([0.2, None, None, None, None, None], 1),  # an unscored cell is no success
    ],
)
def test_the_least_strength_near_the_best_is_chosen(shares, chosen):
    curve = {str(strength): share for strength, share in enumerate(shares, 1)}
    assert least_sufficient(curve, replies=24) == chosen


def test_more_replies_ask_for_more_strength():
    curve = {"1": 0.90, "2": 0.93}
    assert least_sufficient(curve, replies=24) == 1
    assert least_sufficient(curve, replies=4000) == 2
