import pytest
from pydantic import ValidationError

from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config


def test_the_tree_is_frozen_and_survives_json():
    config = load_config(None, ("seed=9", "evaluation.k_list=[10, 50]"))
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 3
    assert ExperimentConfig.model_validate(config.model_dump(mode="json")) == config


def test_every_setting_is_listed_by_its_dotted_name():
    found = load_config(None, ("seed=9", "evaluation.k_list=[10, 50]")).settings()
    assert (found["seed"], found["evaluation.k_list"], found["training.batch_size"]) == (9, [10, 50], None)
    assert "evaluation" not in found


# What follows from the switches


@pytest.mark.parametrize(
    ("override", "uses"),
    [
        ("seed=1", (True, True, True, True)),
        ("ablation.disable_moe=true", (False, False, False, False)),
        ("ablation.disable_memory=true", (True, False, False, False)),
        ("ablation.disable_prototype_agg=true", (True, True, False, True)),
        ("fedmem.enable_prototype_aggregation=false", (True, True, False, True)),
        ("ablation.disable_contrastive=true", (True, True, True, False)),
        ("fedmem.contrastive_lambda=0", (True, True, True, False)),
    ],
)
def test_switches_turn_parts_off(override, uses):
    config = load_config(None, (override,))
    assert (config.uses_retriever, config.uses_memory, config.uses_prototypes, config.uses_contrastive) == uses
