"""What runs reached of the peak rate, and what is expected of another size."""

from __future__ import annotations

import pytest

from glassgpt.inspection.anchors import ANCHORS, Anchor, expected_utilization


@pytest.mark.parametrize("anchor", ANCHORS)
def test_each_run_is_within_15_per_cent_of_what_the_others_say(anchor: Anchor):
    others = tuple(other for other in ANCHORS if other is not anchor)
    assert expected_utilization(anchor.parameters, others) == pytest.approx(anchor.utilization, rel=0.15)


def test_every_run_has_a_source():
    assert all(anchor.source and 0.3 < anchor.utilization < 0.6 for anchor in ANCHORS)
