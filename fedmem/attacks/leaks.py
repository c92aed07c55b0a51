"""The leak meter: every attack on a trained run, each with what guessing would reach beside it."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from fedmem.attacks.interaction_inference import Scores, counted, decoded_row_lengths, interaction_auc, row_lengths
from fedmem.attacks.linkage import linked_share
from fedmem.attacks.membership_inference import model_auc, rare_pair_auc, table_auc
from fedmem.attacks.prototype_inversion import matching_pursuit, nearest_rate, recall, recall_of
from fedmem.attacks.recorded import RecordedClient
from fedmem.attacks.recording import Recording, record
from fedmem.attacks.successive_models import RecordedStep
from fedmem.checkpoint import RunDirectory
from fedmem.contracts import Leak, LeakReport
from fedmem.federated.messages import UpdateSum
from fedmem.memory.prototypes import FrozenItemBlocks, Prototypes
from fedmem.memory.transitions import TransitionCounts

CHANCE_AUC = 0.5
COHORT = 20  # clients whose sum is decoded
Measure = Literal["recall", "AUC", "share"]


def measure_leaks(directory: RunDirectory, job_id: int, num_clients: int, cohort: int = COHORT) -> LeakReport:
    """Attack the messages of some clients of a job, sums over cohorts of them, and its final model.

    Raises:
        CheckpointError: if the run has no checkpoint.
        ConflictError: if its clients' messages cannot be repeated.
    """
    recording = record(directory, num_clients, cohort)
    leaks = (
        *_prototypes(recording),
        *_interactions(recording),
        *_successive_models(recording),
        *_memberships(recording),
    )
    return LeakReport(
        job_id=job_id,
        round=recording.state.round,
        clients=len(recording.clients),
        cohort=recording.cohort_size,
        secure_sums=recording.masked,
        leaks=leaks,
    )


def _prototypes(recording: Recording) -> list[Leak]:
    """Measure nothing where no client sends prototypes, or none remembers anything yet."""
    catalogue = recording.catalogue()
    sent = [
        (client.update.prototypes, client.remembered)
        for client in recording.clients
        if client.update.prototypes is not None and len(client.remembered)
    ]
    if not sent:
        return []
    capacity = recording.snapshot.config.fedmem.memory_capacity
    recalls = np.mean([recall(*one, catalogue, capacity) for one in sent], axis=0).tolist()
    near = float(np.mean([nearest_rate(*one, catalogue) for one in sent]))
    held = float(np.mean([len(remembered) for _, remembered in sent])) / recording.num_items
    sums = "masked prototypes" if recording.masked else "uploaded prototypes"
    found = [
        leak("prototype_inversion", f"Items of a memory, from its {sums}", "recall", *recalls),
        leak("prototype_nearest", "Prototypes whose nearest item is in the memory", "share", near, held),
    ]
    return found + _decoded_prototypes(recording, catalogue)


def _decoded_prototypes(recording: Recording, catalogue: FrozenItemBlocks) -> list[Leak]:
    """Invert the prototypes that are sums over cohorts; where they are clustered anew there are none."""
    totals = [(cohort, cohort.total.prototypes) for cohort in recording.cohorts]
    capacity = recording.snapshot.config.fedmem.memory_capacity
    recalls = [
        recall_of(client.remembered, guessed, catalogue)
        for cohort, total in totals
        if isinstance(total, Prototypes)
        for guessed in [matching_pursuit(total, catalogue, capacity * len(cohort.clients))]
        for client in cohort.clients
        if len(client.remembered)
    ]
    if not recalls:
        return []
    what = f"Items of a memory, from prototypes in the sum over {recording.cohort_size} clients"
    return [leak("prototype_decoded", what, "recall", *np.mean(recalls, axis=0).tolist())]


def _interactions(recording: Recording) -> list[Leak]:
    clients = recording.clients
    popular = recording.snapshot.dataset.training_popularity().astype(np.float64)
    by_popularity = _mean_auc(clients, lambda client: popular)

    def inferred(name: str, what: str, scores: Callable[[RecordedClient], Scores]) -> Leak:
        return leak(name, what, "AUC", _mean_auc(clients, scores), CHANCE_AUC, by_popularity)

    of = {client.user: cohort.total for cohort in recording.cohorts for client in cohort.clients}
    together = f"the sum over {recording.cohort_size} clients"
    words, alone = (
        ("its masked words", "masked transitions") if recording.masked else ("one update's rows", "transitions alone")
    )
    found = [
        inferred("interaction", f"Items of a history, from {words}", lambda one: row_lengths(one.update)),
        inferred(
            "interaction_decoded",
            f"Items of a history, from rows in {together}",
            lambda one: decoded_row_lengths(of[one.user]),
        ),
    ]
    if recording.snapshot.config.uses_transitions:
        found += [
            inferred("transition_alone", f"Items of a history, from its {alone}", lambda one: counted(one.transitions)),
            inferred(
                "transition",
                f"Items of a history, from transitions in {together}",
                lambda one: counted(_transitions(of[one.user])),
            ),
        ]
    return found


def _successive_models(recording: Recording) -> list[Leak]:
    """Measure nothing where training is pooled."""
    if not recording.steps:
        return []
    *cohorts, drawn = recording.steps
    clients, round_size = recording.cohort_size, len(drawn.users)
    return [
        *_between_models(recording, "models_cohort", cohorts, f"{clients} clients between them"),
        *_between_models(recording, "models_round", [drawn], f"a round's {round_size} clients between them"),
    ]


def _between_models(recording: Recording, name: str, steps: Sequence[RecordedStep], between: str) -> list[Leak]:
    dataset = recording.snapshot.dataset
    popular = dataset.training_popularity().astype(np.float64)
    histories = [(step, dataset.training_history(user)) for step in steps for user in step.users.tolist()]
    by_popularity = float(np.mean([interaction_auc(popular, history) for _, history in histories]))

    def inferred(attack: str, models: str, scores: Callable[[RecordedStep], Scores]) -> Leak:
        found = float(np.mean([interaction_auc(scores(step), history) for step, history in histories]))
        return leak(attack, f"Items of a history, from {models}, {between}", "AUC", found, CHANCE_AUC, by_popularity)

    return [
        inferred(name, "two successive models", lambda step: step.moved),
        inferred(f"{name}_all", "all models so far", lambda step: step.updated),
    ]


def _transitions(total: UpdateSum) -> TransitionCounts:
    assert total.transitions is not None, "cohorts are recorded with transitions"
    return total.transitions


def _memberships(recording: Recording) -> list[Leak]:
    clients = recording.clients
    linked, right = linked_share(clients), 1 / len(clients)
    found = {
        "membership_model": ("That an item was trained on, from the model", model_auc(recording)),
        "membership_table": ("That a pair was, from the table of transitions", table_auc(recording)),
        "membership_rare": ("That a pair that one other has at most was, from this table", rare_pair_auc(recording)),
    }
    told = [leak(name, what, "AUC", auc, CHANCE_AUC) for name, (what, auc) in found.items() if auc is not None]
    return [*told, leak("linkage", "Which updates of two rounds are one client's", "share", linked, right)]


def leak(
    attack: str, what: str, measure: Measure, measured: float, chance: float, popularity: float | None = None
) -> Leak:
    """Put what was measured in the form that is reported."""
    return Leak(attack=attack, what=what, measure=measure, measured=measured, chance=chance, popularity=popularity)


def _mean_auc(clients: Sequence[RecordedClient], scores: Callable[[RecordedClient], Scores]) -> float:
    return float(np.mean([interaction_auc(scores(client), client.history) for client in clients]))
