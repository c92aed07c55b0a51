"""How an owner forgets a user: rows out of the file, the run's folder out of the store, a run from what is left."""

import shutil

import pandas as pd

from fedmem.experiment import TrainingRun
from tests.end_to_end.test_import_again import holding
from tests.nodes.secured import FOUR, nodes_of

LEAVER = "user-01"


def run_over(nodes, path, snapshot) -> TrainingRun:
    run = TrainingRun.start(path, snapshot, courier=nodes)
    assert list(run.rounds())
    run.close()
    return run


def test_a_user_who_is_out_of_file_and_store_is_in_nothing_of_the_next_run(apart, tmp_path):
    owners = tmp_path / "owners"
    before = run_over(nodes_of(owners), tmp_path / "before", apart)
    assert {name.partition("/")[0] for name in holding(owners, LEAVER)} == {"amsterdam", "amsterdam.csv"}
    assert not holding(tmp_path / "before", LEAVER), "the server never had the id"
    shutil.rmtree(owners / "amsterdam")
    nodes = nodes_of(owners)
    rows = pd.read_csv(owners / "amsterdam.csv")
    rows[rows["user_id"] != LEAVER].to_csv(owners / "amsterdam.csv", index=False)
    after = run_over(nodes, tmp_path / "after", apart)
    assert not holding(owners, LEAVER)
    without = {**FOUR, "amsterdam": range(0, 3, 2)}
    never = run_over(nodes_of(tmp_path / "others", without), tmp_path / "never", apart)
    tables = [run.server.state.transitions for run in (before, after, never)]
    assert (tables[0].pairs != tables[1].pairs).nnz, "the table of the run before keeps what the user gave"
    assert not (tables[1].pairs != tables[2].pairs).nnz
    assert tables[1].taken.tolist() == tables[2].taken.tolist()
