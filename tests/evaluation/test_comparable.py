"""What sets runs apart is named, and what does not compare is refused with two runs' names and the reason."""

import pytest

from fedmem.config import ExperimentConfig
from fedmem.config_reader import validate_config
from fedmem.errors import ConfigError, ConflictError
from fedmem.evaluation.comparable import ComparedRun, compare_runs


def run(number: int, dataset: str = "films", snapshot: str | None = "aa", **config: object) -> ComparedRun:
    return ComparedRun(f"job {number}", dataset, validate_config(config, "the test"), snapshot)


def test_runs_of_the_same_settings_and_data_differ_in_nothing() -> None:
    found = compare_runs([run(1), run(2), run(3)])
    assert (found.differences, found.note) == ({}, None)
    assert list(found.metrics)[:4] == ["HR@5", "HR@10", "HR@20", "NDCG@5"]


def test_settings_and_snapshots_that_differ_are_named_with_the_value_of_each() -> None:
    found = compare_runs([run(1), run(2, snapshot="bb", federated={"num_rounds": 7}, seed=1)])
    default = ExperimentConfig().federated.num_rounds
    assert found.differences == {"snapshot": ["aa", "bb"], "seed": [42, 1], "federated.num_rounds": [default, 7]}
    assert found.note is not None
    assert "job 1 and job 2 have different snapshots of 'films'" in found.note


def test_a_job_that_has_not_begun_has_no_snapshot_yet_and_nothing_is_said_of_it() -> None:
    found = compare_runs([run(1, snapshot=None), run(2)])
    assert found.differences == {"snapshot": [None, "aa"]}
    assert found.note is None


def test_the_job_that_one_continues_is_a_difference() -> None:
    later = ComparedRun("job 2", "films", ExperimentConfig(), "aa", start_from=1)
    assert compare_runs([run(1), later]).differences == {"start_from": [None, 1]}


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (run(3, dataset="books"), "job 1 was trained on data set 'films' and job 3 on 'books'"),
        (run(3, data={"repeats": "offer"}), "data.repeats is 'hide' in job 1 and 'offer' in job 3"),
        (run(3, data={"min_sequence_length": 9}), "data.min_sequence_length is 5 in job 1 and 9 in job 3"),
        (run(3, data={"cold_user_fraction": 0.1}), "data.cold_user_fraction is 0.0 in job 1 and 0.1 in job 3"),
    ],
)
def test_other_data_and_other_splits_are_refused(other: ComparedRun, words: str) -> None:
    with pytest.raises(ConflictError) as refused:
        compare_runs([run(1), run(2), other])
    assert words in str(refused.value)


def test_the_seed_decides_the_split_only_where_it_draws_users_who_are_kept_out() -> None:
    kept_out = {"cold_user_fraction": 0.1}
    with pytest.raises(ConflictError, match="seed is 1 in job 1 and 2 in job 2"):
        compare_runs([run(1, data=kept_out, seed=1), run(2, data=kept_out, seed=2)])
    assert compare_runs([run(1, seed=1), run(2, seed=2)]).differences == {"seed": [1, 2]}


def test_only_metrics_that_all_measure_are_compared() -> None:
    few = run(2, evaluation={"metrics": ["HR"], "k_list": [3, 10]})
    assert compare_runs([run(1), few]).metrics == ["HR@10"]
    assert compare_runs([run(1), few], ["HR@10"]).metrics == ["HR@10"]
    with pytest.raises(ConflictError, match=r"job 2 does not measure NDCG@10 .* all of them measure HR@10"):
        compare_runs([run(1), few], ["NDCG@10"])


@pytest.mark.parametrize("runs", [[], [run(1)], [run(1), run(2), run(1)]])
def test_two_runs_are_needed_and_each_once(runs: list[ComparedRun]) -> None:
    with pytest.raises(ConfigError, match="name two runs"):
        compare_runs(runs)
