"""The benchmark of forgetting: an exact sum forgets, weights do not, and a deleted user is told by both before."""

import numpy as np
import pytest

from benchmarks.forgetting import measured, with_interval
from fedmem.attacks.membership_inference import auc
from tests.tiny import tiny_config, tiny_dataset


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    config = tiny_config(federated={"num_rounds": 8, "client_fraction": 1.0}, ablation={"disable_moe": True})
    return measured(config, tiny_dataset(40, longest=12), tmp_path_factory.mktemp("forgetting"), 8, 2)


def test_sums_forget_and_weights_do_not(found):
    figures = found["figures"]
    assert figures["before"]["pairs"][0] > figures["erased"]["pairs"][0]
    assert figures["erased"]["pairs"] == figures["without"]["pairs"] == figures["more"]["pairs"]
    for by_weights in ("probability", "calibrated", "item"):
        assert figures["erased"][by_weights] == figures["before"][by_weights]
        assert figures["without"][by_weights] != figures["before"][by_weights]
    assert found["rounds"]["more"] == 10


def test_an_interval_is_around_its_auc_and_narrower_of_more_users():
    rng = np.random.default_rng(0)
    widths = []
    for number in (20, 200):
        members, others = rng.normal(1, 1, number), rng.normal(0, 1, number)
        area, low, high = with_interval(members, others)
        assert area == pytest.approx(auc(members, others))
        assert low < area < high
        widths.append(high - low)
    assert widths[1] < widths[0] / 2
