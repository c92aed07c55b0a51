"""A secure sum goes on without a node that spoils it or is gone, and says which one it was."""

from contextlib import closing
from dataclasses import replace

import pytest

from fedmem.experiment import TrainingRun
from tests.nodes.secured import ALL_DRAWN, hurried, lost, nodes_of, secured_snapshots


@pytest.mark.parametrize(("spoilt", "missing"), [(("amsterdam",), "amsterdam"), (("amsterdam", "berlin"), "cadiz")])
def test_a_node_whose_sealed_shares_cannot_be_opened_is_named_and_left_out_if_two_say_so(
    spoilt, missing, tmp_path, caplog
):
    _, apart = secured_snapshots()
    courier = nodes_of(tmp_path / "nodes")

    def trouble(name, asked, answer):
        if (name, asked.facts["kind"]) == ("cadiz", "shares"):
            numbers = [str(["amsterdam", "berlin"].index(each)) for each in spoilt]
            changed = {number: answer.facts["sealed"][number][::-1] for number in numbers}
            return replace(answer, facts={**answer.facts, "sealed": {**answer.facts["sealed"], **changed}})
        return answer

    courier.trouble = trouble
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        assert next(run.rounds()).metrics["nodes"] == 3
        assert [name for name, each in run.population.roster.members.items() if each.missed] == [missing]
        assert run.population.nodes.refused["cadiz"] > 0
    assert f"node cadiz is refused: what it sealed for {', '.join(spoilt)} cannot be opened" in caplog.text
    assert f"node {spoilt[0]} is refused: it could not open what cadiz sealed for it" in caplog.text


@pytest.mark.parametrize("kind", ["keys", "train"])
def test_a_node_that_is_gone_for_good_keeps_no_round_waiting_for_the_transitions_of_too_few_others(kind, tmp_path):
    """They keep them, and the round goes on; with this seed two others beside it have any in the second round."""
    apart = hurried(secured_snapshots(seed=2, federated={**ALL_DRAWN, "client_fraction": 0.7})[1], 60.0)
    courier = nodes_of(tmp_path / "nodes")
    with closing(TrainingRun.start(tmp_path / "run", apart, courier=courier)) as run:
        rounds = run.rounds()
        before = next(rounds).metrics["transition_interactions"]
        courier.trouble = lost("delft", kind)
        second = next(rounds).metrics
        stores = courier.stores(run.population.roster.run)
        handed_on = sum(int(store.all_handed_on(2).sum()) for store in stores)
    assert (second["nodes"], second["transition_interactions"]) == (3.0, before)
    assert handed_on == before, "what is not in a sum is not handed on"
