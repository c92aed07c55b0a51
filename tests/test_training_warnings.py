"""What is wrong with a training is said by name with its remedy, once, and of a sound one nothing is said."""

import logging

import pytest

from fedmem.experiment import TrainingRun
from fedmem.training_warnings import training_warnings
from tests.tiny import tiny_config, tiny_snapshot

SOUND = {"memory_updates": 3.0, "gate_sequential": 0.6, "gate_text": 0.4, "gate_entropy": 0.01}
CONFIG = tiny_config()


def said(round_number=100, best_round=50, config=CONFIG, **metrics):
    return training_warnings(config, round_number, best_round, SOUND | metrics)


def test_nothing_is_said_of_a_sound_run():
    assert said() == {}
    assert training_warnings(CONFIG, 1, None, {}) == {}


@pytest.mark.parametrize("transitions", [True, False])
def test_a_training_that_ends_before_its_first_validation_is_told(transitions):
    short = tiny_config(evaluation={"eval_every": 10}, ablation={"disable_transitions": not transitions})
    (text,) = said(round_number=1, best_round=0, config=short).values()
    assert text.startswith("no validation: the first would follow round 10, and the training ends after round 6")
    assert ("serves without the transition memory" in text) is transitions
    assert "Lower evaluation.eval_every = 10" in text
    assert said(round_number=1, best_round=None, config=tiny_config(evaluation={"eval_every": 6})) == {}
    assert said(round_number=5, best_round=4, config=short) == {}, "of a model that goes on"


def test_empty_memories_are_named_once_there_was_time_to_write():
    (text,) = said(memory_updates=0.0).values()
    assert text.startswith("memory not updated: no memory was written in round 100")
    assert "fedmem.surprise_threshold = 0.5" in text
    assert said(round_number=20, memory_updates=0.0) == {}
    assert said(config=tiny_config(ablation={"disable_memory": True}), memory_updates=0.0) == {}


def test_a_first_validation_that_stays_the_best_is_no_convergence():
    (text,) = said(round_number=8, best_round=2).values()
    assert text.startswith("no convergence: by round 8 no validation was better than the first, of round 2.")
    assert "federated.server_learning_rate" in text
    assert said(round_number=6, best_round=2) == {}
    assert said(round_number=8, best_round=4) == {}


@pytest.mark.parametrize(("text", "collapsed"), [(0.031, True), (0.033, False)])
def test_an_expert_below_a_twentieth_of_all_gates_has_no_say(text, collapsed):
    found = said(gate_text=text)
    assert bool(found) is collapsed
    if collapsed:
        assert "text (4.9%)" in found["an expert has no say"]
        assert "ablation.disable_moe=true" in found["an expert has no say"]


def test_a_released_table_without_a_weight_is_told():
    (text,) = said(epsilon_transitions=8.0, transition_strength=0.0).values()
    assert text.startswith("a budget is of no use: the released transition memory has cost epsilon 8")
    assert said(epsilon_transitions=8.0, transition_strength=0.1) == {}
    assert said(epsilon_transitions=8.0) == {}, "a round that was not validated"
    assert said(epsilon_transitions=0.0, transition_strength=0.0) == {}


def test_a_run_warns_of_each_once(tmp_path, caplog):
    config = tiny_config(fedmem={"surprise_threshold": 100}, federated={"num_rounds": 24})
    run = TrainingRun.start(tmp_path / "run", tiny_snapshot(config))
    with caplog.at_level(logging.WARNING, "fedmem"):
        list(run.rounds())
    run.close()
    assert sum(record.getMessage().startswith("memory not updated") for record in caplog.records) == 1
