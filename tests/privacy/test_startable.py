"""What no run may begin with."""

import pytest

from fedmem.config_reader import validate_config
from fedmem.errors import ConfigError
from fedmem.experiment import TrainingRun
from fedmem.privacy.startable import check_startable
from tests.tiny import tiny_config, tiny_snapshot


@pytest.mark.parametrize("threshold", [0.5, 0.65])
def test_no_run_begins_with_secure_sums_of_which_few_shares_take_a_mask_off(threshold, tmp_path):
    sums = {"enabled": True, "threshold": threshold, "minimum_cohort": 3}
    named = rf"secure_sums.threshold = {threshold}: .* Set it to 0.66 or more"
    with pytest.raises(ConfigError, match=named):
        check_startable(validate_config({"secure_sums": sums}, "the test"))
    with pytest.raises(ConfigError, match=named):
        TrainingRun.start(tmp_path / "run", tiny_snapshot(tiny_config(secure_sums=sums)))
    check_startable(validate_config({"secure_sums": {**sums, "enabled": False}}, "the test"))


def test_the_default_threshold_is_enough():
    check_startable(validate_config({"secure_sums": {"enabled": True}}, "the test"))
