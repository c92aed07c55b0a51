import pytest
from pydantic import ValidationError

from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config
from fedmem.errors import ConfigError
from fedmem.privacy.startable import check_startable


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
        ("ablation.disable_moe=false", (True, True, True, True)),
        ("ablation.disable_memory=true", (True, False, False, False)),
        ("ablation.disable_prototype_agg=true", (True, True, False, True)),
        ("fedmem.enable_prototype_aggregation=false", (True, True, False, True)),
        ("ablation.disable_contrastive=true", (True, True, True, False)),
        ("fedmem.contrastive_lambda=0", (True, True, True, False)),
    ],
)
def test_switches_turn_parts_off(override, uses):
    config = load_config(None, ("ablation.disable_moe=false", override))
    assert (config.uses_retriever, config.uses_memory, config.uses_prototypes, config.uses_contrastive) == uses


def test_by_default_only_the_transitions_are_remembered():
    config = load_config(None)
    assert config.uses_transitions
    assert not any((config.uses_retriever, config.uses_memory, config.uses_prototypes, config.uses_contrastive))


# What another program may send


def unbounded(node, path, schemas):
    """Where a list, a text or a number may be of any size, below a node of the JSON schema."""
    if "$ref" in node:
        yield from unbounded(schemas[node["$ref"].rpartition("/")[2]], path, schemas)
    for part in node.get("anyOf", ()):
        yield from unbounded(part, path, schemas)
    for name, part in node.get("properties", {}).items():
        yield from unbounded(part, f"{path}.{name}", schemas)
    kind = node.get("type")
    if kind == "array":
        yield from unbounded(node["items"], f"{path}[]", schemas)
    bounds = {
        "array": ["maxItems"],
        "integer": ["maximum", "exclusiveMaximum", "enum"],
        "string": ["maxLength", "enum", "const"],
    }
    if kind in bounds and not any(node.get(bound) for bound in bounds[kind]):
        yield path


def test_every_list_text_and_number_is_bounded():
    schema = ExperimentConfig.model_json_schema()
    assert list(unbounded(schema, "", schema["$defs"])) == []


@pytest.mark.parametrize("text", ["\ud800", "a\0b", "", "x" * 5000, "a\nb"])
@pytest.mark.parametrize("name", ["save_dir", "device"])
def test_a_text_that_no_database_holds_is_refused(name, text):
    with pytest.raises(ValidationError, match=name):
        ExperimentConfig.model_validate({name: text})


@pytest.mark.parametrize("seed", [2**53, float(2**53), 2**63])
def test_a_seed_that_programs_round_is_refused(seed):
    with pytest.raises(ValidationError, match="seed"):
        ExperimentConfig(seed=seed)
    assert ExperimentConfig(seed=2**53 - 1).seed == 2**53 - 1


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("fedmem.prototype_aggregation=recluster", r"prototype_aggregation = recluster needs: choose weighted or mean"),
        ("federated.centralised_batch=8", r"federated.centralised_batch = 8 is training on pooled data"),
        ("secure_sums.neighbours=7", r"secure_sums.neighbours = 7: .*multiple of 2"),
        ("secure_sums.minimum_cohort=1", r"secure_sums.minimum_cohort = 1: .*greater than or equal to 2"),
        ("secure_sums.bits=16", r"secure_sums.bits = 16: .*32 or 64"),
        ("secure_sums.threshold=0.4", r"secure_sums.threshold = 0.4: .*greater than or equal to 0.5"),
    ],
)
def test_what_cannot_be_made_of_sums_is_refused_with_secure_sums(override, said):
    with pytest.raises(ConfigError, match=said):
        load_config(None, ("secure_sums.enabled=true", "ablation.disable_moe=false", override))


def test_nothing_is_refused_that_takes_no_part():
    recluster = "fedmem.prototype_aggregation=recluster"
    load_config(None, (recluster,))
    off = ("ablation.disable_prototype_agg=true", "ablation.disable_transitions=true")
    load_config(None, ("secure_sums.enabled=true", recluster, *off))


@pytest.mark.parametrize(
    ("metrics", "watched"), [("[NDCG]", "NDCG@10"), ("[MRR, HR]", "HR@10"), ("[HR, NDCG]", "NDCG@10")]
)
def test_what_stops_training_is_one_of_what_is_measured(metrics, watched):
    assert load_config(None, (f"evaluation.metrics={metrics}",)).evaluation.stopping_metric == watched


@pytest.mark.parametrize("override", ["evaluation.metrics=[MRR]", "evaluation.k_list=[5, 20]"])
def test_a_run_that_would_measure_nothing_to_stop_by_is_refused(override):
    with pytest.raises(ConfigError, match=r"k_list must contain 10, and metrics must contain NDCG, or else HR"):
        load_config(None, (override,))


@pytest.mark.parametrize("fraction", ["1e-300", "5e-324"])
def test_a_release_that_never_comes_is_refused(fraction):
    overrides = ("privacy.transitions_epsilon=2", f"federated.client_fraction={fraction}")
    with pytest.raises(ConfigError, match="released after round 1000000"):
        check_startable(load_config(None, overrides))
