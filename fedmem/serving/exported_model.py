"""A model by itself: what a checkpoint has learned, in a folder that ``fedmem serve`` reads, and no user."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from fedmem.checkpoint import RunDirectory, RunRecord, Snapshot
from fedmem.features.store import UserFeatures
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.state import ServerState
from fedmem.nodes.roster import FILE, Roster


def export_model(run: Path, round_number: int, out: Path) -> None:
    """Write the model after a round without its users: no history, no memory, no preference text, no id.

    Catalogue, item features, the averaged weights, prototypes and the transition memory, which are made of all users,
    are in it; of a transition memory with a budget what was released with noise alone.

    Args:
        run: the folder of the run.
        round_number: a round whose checkpoint is kept.
        out: a folder that holds no run yet.

    Raises:
        CheckpointError: if there is no such checkpoint, it is damaged, or the folder is taken.
    """
    source, target = RunDirectory(run), RunDirectory(out)
    target.refuse_if_taken()
    snapshot, state = source.read_snapshot(), source.checkpoints.read_server(round_number)
    public = _without_users(snapshot)
    target.write_snapshot(public)
    if (run / FILE).exists():
        _write_roster(run, out)
    handed_on = None if state.transitions is None else np.zeros(0, np.int64)
    record = RunRecord(last=round_number, best=round_number)
    target.write_checkpoint(_learned(public, state), [], [], record, handed_on)


def _without_users(snapshot: Snapshot) -> Snapshot:
    return replace(snapshot, dataset=snapshot.dataset.catalogue(), user_features=UserFeatures.empty(0))


def _learned(snapshot: Snapshot, state: ServerState) -> ServerState:
    """Leave out what only training needs, and exact counts where noisy ones are what may be seen."""
    none = None if state.transitions is None else state.transitions.emptied()
    optimizer = OptimizerState.zeros(state.averaged)
    transitions = none if snapshot.config.releases_transitions else state.transitions
    learned = replace(state, parameters=state.averaged, optimizer=optimizer)
    return replace(learned, transitions=transitions, new_transitions=none)


def _write_roster(run: Path, out: Path) -> None:
    """Copy by what name nodes know the run, and nothing of them, so that each may serve its users beside it."""
    roster = Roster(run / FILE)
    roster.path, roster.members, roster.counted = out / FILE, {}, {}
    roster.save()
