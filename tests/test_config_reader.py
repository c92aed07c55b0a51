"""What a configuration refuses and how it says so, inheritance, overrides, and the shipped files."""

from pathlib import Path

import pytest

from fedmem.config import ExperimentConfig
from fedmem.config_reader import load_config, validate_config, with_defaults_of
from fedmem.errors import ConfigError

CONFIGS = sorted((Path(__file__).resolve().parents[1] / "configs").glob("*.yaml"))


@pytest.fixture
def written(tmp_path):
    def write(text: str, name: str = "run.yaml") -> Path:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refused(path: Path | None = None, overrides: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    assert path is None or str(path.parent) in message
    return message


def test_without_a_file_every_setting_has_its_default():
    assert load_config(None) == ExperimentConfig()


def test_an_empty_file_changes_nothing(written):
    assert load_config(written("# nothing\n")) == ExperimentConfig()


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_shipped_file_loads_and_says_only_what_differs(path):
    loaded = load_config(path)
    assert isinstance(loaded, ExperimentConfig)
    if path.stem not in ("fedmem", "transitions"):  # the default, and as a rung
        assert loaded != ExperimentConfig()


# What is refused


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("federated:\n  num_round: 3\n", "federated.num_round"),
        ("fedrated:\n  num_rounds: 3\n", "fedrated"),
        ("federated:\n  num_rounds: 0\n", "federated.num_rounds = 0"),
        ("federated:\n  client_fraction: 1.5\n", "federated.client_fraction = 1.5"),
        ("fedmem:\n  surprise_threshold: .nan\n", "fedmem.surprise_threshold = nan"),
        ("training:\n  learning_rate: .inf\n", "training.learning_rate = inf"),
        ("training:\n  loss: hinge\n", "training.loss = 'hinge'"),
        ("training: 3\n", "training = 3"),
        ("seed: -1\n", "seed = -1"),
        ("features:\n  text: maybe\n", "features.text = 'maybe'"),
        ("features:\n  text: on\n", "features.text = True"),
        ("evaluation:\n  k_list: [5]\n", "HR@10"),
        ("evaluation:\n  k_list: []\n", "evaluation.k_list"),
        ("model:\n  sasrec_num_heads: 3\n", "sasrec_num_heads = 3 must divide sasrec_hidden_dim = 64"),
        ("7: 3\n", "7"),
        ("secure_sums:\n  enabled: true\nprivacy:\n  weights_epsilon: 2\n", ".yaml: secure_sums.enabled refuses"),
        ("fedmem:\n  memory_policy: last\ntraining:\n  batch_size: 4\n", "batch_size"),
        ("features:\n  preference_text: required\nablation:\n  disable_memory: true\n", "preference_text"),
        ("model:\n  fusion_method: learned\n  retriever_weight: 0\n", "retriever_weight = 0"),
    ],
)
def test_a_wrong_key_or_value_is_named(written, text, named):
    assert named in refused(written(text))


@pytest.mark.parametrize("text", ["federated: [1, 2\n", "a: b: c\n", "\tseed: 3\n", "seed: *nowhere\n"])
def test_broken_yaml_names_the_file_and_the_line(written, text):
    message = refused(written(text))
    assert "not valid YAML" in message
    assert "line" in message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "3\n"])
def test_a_file_that_is_no_mapping(written, text):
    assert "mapping" in refused(written(text))


def test_a_file_that_is_not_there_or_not_text(tmp_path):
    assert "cannot be read" in refused(tmp_path / "nowhere.yaml")
    assert "cannot be read" in refused(tmp_path)
    (tmp_path / "noise.yaml").write_bytes(bytes(range(128, 256)))
    assert "cannot be read" in refused(tmp_path / "noise.yaml")


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("federated.num_rounds", "expected section.key=value"),
        ("=3", "expected section.key=value"),
        ("federated.num_rounds=[1", "not valid YAML"),
        ("seed.more=3", "seed"),
        ("federated.nothing=3", "federated.nothing"),
        ("federated.num_rounds=many", "federated.num_rounds = 'many'"),
        ("federated=3", "federated = 3"),
        ("nothing.at.all=3", "nothing"),
    ],
)
def test_a_bad_override_is_named(override, named):
    assert named in refused(None, (override,))


def test_an_override_through_a_value_is_refused(written):
    assert "'seed' is a value, not a section" in refused(None, ("seed=3", "seed.more=3"))


# What is accepted


def test_an_empty_section_changes_nothing(written):
    assert load_config(written("training:\nseed: 3\n"), ("training.momentum=0.5",)).training.momentum == 0.5


def test_overrides_are_yaml_and_the_last_one_counts():
    loaded = load_config(
        None,
        ("federated.num_rounds=7", "evaluation.k_list=[1, 10]", "training.batch_size=null", "federated.num_rounds=8"),
    )
    assert (loaded.federated.num_rounds, loaded.evaluation.k_list, loaded.training.batch_size) == (8, (1, 10), None)


@pytest.mark.parametrize("word", ["off", '"off"', "false", "no"])
def test_off_is_off(written, word):
    assert load_config(written(f"features:\n  text: {word}\n")).features.text == "off"
    assert load_config(None, (f"features.text={word}",)).features.text == "off"


def test_a_small_number_without_a_point(written):
    assert load_config(written("training:\n  learning_rate: 1e-4\n")).training.learning_rate == 1e-4


def test_a_file_says_only_what_differs_from_its_base(written):
    written("seed: 5\nfederated:\n  num_rounds: 9\n  client_fraction: 0.2\n", "grandparent.yaml")
    written("base: grandparent.yaml\nfederated:\n  client_fraction: 0.3\n", "parent.yaml")
    loaded = load_config(written("base: parent.yaml\nseed: 6\n"), ("federated.local_epochs=2",))
    federated = loaded.federated
    assert (loaded.seed, federated.num_rounds, federated.client_fraction, federated.local_epochs) == (6, 9, 0.3, 2)


def test_a_base_is_relative_to_its_file(written, tmp_path):
    (tmp_path / "deep").mkdir()
    written("seed: 5\n", "top.yaml")
    (tmp_path / "deep" / "run.yaml").write_text("base: ../top.yaml\n", encoding="utf-8")
    assert load_config(tmp_path / "deep" / "run.yaml").seed == 5


def test_a_circle_of_bases_is_refused(written):
    written("base: b.yaml\n", "a.yaml")
    assert "back to itself" in refused(written("base: a.yaml\n", "b.yaml"))
    assert "back to itself" in refused(written("base: c.yaml\n", "c.yaml"))


def test_a_base_that_is_not_there_is_named(written):
    assert "nowhere.yaml" in refused(written("base: nowhere.yaml\n"))


def test_a_wrong_key_of_a_base_is_found(written):
    written("sead: 5\n", "base.yaml")
    assert "sead" in refused(written("base: base.yaml\n"))


def test_what_a_configuration_does_not_say_is_taken_from_an_installations_own(written):
    path = written("federated: {num_rounds: 7}\ntraining: {loss: bpr}\n")
    config = with_defaults_of(path, validate_config({"training": {"loss": "full_softmax"}}, "a job"))
    assert (config.federated.num_rounds, config.training.loss) == (7, "full_softmax")
    assert with_defaults_of(path, ExperimentConfig()) == load_config(path)
    assert with_defaults_of(None, config) is config


def test_an_installations_own_that_does_not_go_with_a_job_is_named(written):
    path = written("federated: {num_round: 7}\n")
    with pytest.raises(
        ConfigError, match=r"run\.yaml with the job's configuration: unknown key 'federated\.num_round'"
    ):
        with_defaults_of(path, ExperimentConfig())
