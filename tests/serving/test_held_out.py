"""The second table of the transition memory: what was held out answers people after the test, and tests nothing."""

from pathlib import Path

import numpy as np
import pytest

from cli.comparison import Questions, compare
from fedmem.checkpoint import RunDirectory
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.errors import ConflictError
from fedmem.experiment import TrainingRun
from fedmem.memory.transitions import TransitionCounts, TransitionTable
from fedmem.serving import Recommender
from tests.serving.builders import ask
from tests.tiny import ITEMS, tiny_config, tiny_snapshot, trained, walks

BEFORE, CANARY = ITEMS - 1, ITEMS  # taken at the very end alone, which is held out
USERS = 20


def dataset() -> FederatedDataset:
    """Walks of which some end with the canary, and one that is too short to be trained on."""
    sequences = walks(USERS, ITEMS - 2)
    for walk in sequences[:5]:
        walk += [BEFORE, CANARY]
    return FederatedDataset.from_sequences([*sequences, [BEFORE, CANARY]], ITEMS, name="canary")


@pytest.fixture(scope="module")
def tables() -> list[TransitionTable]:
    """All that were made of counts while the run was trained, tested and evaluated."""
    return []


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tables: list[TransitionTable]) -> TrainingRun:
    """A run that was tested and evaluated with everything that can be asked for."""
    of = TransitionTable.of.__func__

    def noted(cls, *made_of):
        tables.append(of(cls, *made_of))
        return tables[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransitionTable, "of", classmethod(noted))
        config = tiny_config(transitions={"strengths": [0, 0.5]}, federated={"client_fraction": 0.3, "num_rounds": 4})
        run = trained(tmp_path_factory.mktemp("held") / "run", tiny_snapshot(config, drawn_cold(dataset())))
        for split in ("validation", "test"):
            compare(run.directory.path, Questions(split=split, controls=True, baselines=True, lists=True))
    return run


def drawn_cold(data: FederatedDataset) -> FederatedDataset:
    return data.with_cold_users(0.2, np.random.default_rng(0))


def test_no_evaluation_reads_what_was_held_out(run: TrainingRun, tables: list[TransitionTable]) -> None:
    assert len(tables) > 5, "validations, the test, and controls"
    for table in tables:
        assert not table.taken[[BEFORE, CANARY]].any()
        assert table.taken.sum() <= run.snapshot.dataset.training_lengths.sum()


def test_a_model_that_answers_people_cannot_be_evaluated(run: TrainingRun) -> None:
    answering = Recommender.load_to_answer(run.directory.path)
    with pytest.raises(ConflictError, match="held out"):
        answering.score(np.array([0]), [answering.dataset.test_input(0)])


def test_all_that_is_known_answers_people(run: TrainingRun) -> None:
    answering, data = Recommender.load_to_answer(run.directory.path), run.snapshot.dataset
    everything = TransitionCounts.of([data.history(user) for user in range(data.num_users)], ITEMS, 10)
    handed_on = run.directory.checkpoints.read_handed_on(answering.round)
    assert not handed_on.all(), "there are some whom training has not counted, and who are counted now"
    assert same(answering.trained.transitions.counts, everything)
    found = answering.answer(ask(history=[str(BEFORE)], k=1, explain=True)).items[0]
    assert (found.item.item_id, found.parts.remembered[0].item_id) == (str(CANARY), str(BEFORE))
    assert answering.answer(ask()).strategy == "popularity"


def test_before_the_test_only_what_was_trained_on_answers(run: TrainingRun, tmp_path: Path) -> None:
    copy = RunDirectory(tmp_path / "run")
    copy.path.symlink_to(run.directory.path)
    assert Recommender.load_to_answer(copy.path).trained.held_out
    unfinished = RunDirectory(tmp_path / "unfinished")
    unfinished.copy_from(run.directory, run.snapshot.config, [run.record.best])
    unfinished.write_record(type(run.record)(run.record.last, run.record.best))
    assert not Recommender.load_to_answer(unfinished.path).scorer.transitions.taken[CANARY]


def same(a: TransitionCounts, b: TransitionCounts) -> bool:
    return not (a.pairs != b.pairs).nnz and np.array_equal(a.taken, b.taken)


@pytest.mark.parametrize("since", [(), ("3", "9")])
def test_whoever_is_forgotten_is_in_neither_table(run: TrainingRun, since: tuple[str, ...]) -> None:
    answering, data = Recommender.load_to_answer(run.directory.path), run.snapshot.dataset
    answering.count([("2", (), since), ("new", (), since)])
    for _ in range(2):
        answering.forget_user("2", since)
        answering.forget_user("new", since)
        since = ()
    others = [data.history(user) for user in range(data.num_users) if user != 2]
    expected = TransitionCounts.of(others, ITEMS, 10)
    assert same(answering.trained.transitions.counts, expected)
    assert answering.trained.transitions.counts.pairs.nnz == expected.pairs.nnz, "no trace, not even of nothing"
    np.testing.assert_array_equal(answering.scorer.transitions.taken, expected.taken)


def test_only_the_newest_of_long_histories_are_counted(run: TrainingRun, tmp_path: Path) -> None:
    config = tiny_config(data={"max_history": 5}, federated={"num_rounds": 2})
    short = trained(tmp_path / "run", tiny_snapshot(config, dataset().configured(config.data)))
    answering, data = Recommender.load_to_answer(short.directory.path), short.snapshot.dataset
    newest = [data.history(user)[-7:] for user in range(data.num_users)]
    assert same(answering.trained.transitions.counts, TransitionCounts.of(newest, ITEMS, 10))


def test_a_kept_vector_reads_the_rows_of_now(run: TrainingRun) -> None:
    answering = Recommender.load_to_answer(run.directory.path)
    question = ask("3", k=ITEMS, explain=True)
    before = answering.answer(question)
    assert answering.answer(question) == before, "from the kept vector"
    last = str(answering.dataset.history(3)[-1])
    answering.count([(f"new{number}", (), (last, "7")) for number in range(50)])
    assert answering.answer(question) == before, "counted and not read yet"
    answering.refresh()
    after = answering.answer(question)
    places = [[scored.item.item_id for scored in found.items].index("7") for found in (before, after)]
    assert places[1] == 0 < places[0]
    for scored in after.items:
        assert scored.score == pytest.approx(sum(scored.parts.summands().values()), abs=1e-4)
