"""Membership inference: whether an interaction was trained on, from the final model or from the transition table."""

import itertools
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from fedmem.attacks.recorded import RecordedClient
from fedmem.attacks.recording import Recording
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.start import build_model
from fedmem.federated.transition_release import readable_transitions
from fedmem.memory.count_sketch import table_of
from fedmem.memory.transitions import TransitionTable, followers_in

Pair = tuple[int, int]  # an item, and one that follows it
MOST_OTHERS = 1  # users beside the attacked one that have a rare pair


def model_auc(recording: Recording) -> float:
    """Tell the last item trained on from the held-out one after it, by the log-probability that the model gives each.

    The attacker has the served model and the history before, as in Shokri et al. (2017) without shadow models.
    """
    config, dataset = recording.snapshot.config, recording.snapshot.dataset
    model = build_model(config, dataset.num_items, recording.snapshot.features, recording.state.averaged)
    scorer = ModelScorer(model, recording.state.global_memory)
    users = [client.user for client in recording.clients]
    trained = [dataset.training_history(user) for user in users]
    members = log_probabilities(scorer, [h[:-1] for h in trained], [int(h[-1]) for h in trained])
    others = log_probabilities(scorer, trained, [dataset.validation_target(user) for user in users])
    return auc(members, others)


def table_auc(recording: Recording) -> float | None:
    """Tell neighbours within a training history from a last item and the held-out one, by the table's weight.

    None where the run has no transition memory yet.
    """
    if not (table := _table(recording)):
        return None
    members = [(int(c.history[-2]), int(c.history[-1])) for c in recording.clients if len(c.history) > 1]
    return auc(_weights(table, members), _weights(table, [pair for _, pair in _held_out(recording)]))


def rare_pair_auc(recording: Recording) -> float | None:
    """Do as ``table_auc`` with all neighbours, of pairs alone that one other user has at most.

    A user has a pair whose second item follows its first within the table's window. None where the run has no
    transition memory yet, or there is no such pair of either kind.
    """
    if not (table := _table(recording)):
        return None
    window = recording.snapshot.config.transitions.window
    own = [_pairs(client.history, window) for client in recording.clients]
    members = [(set(itertools.pairwise(client.history.tolist())), 1) for client in recording.clients]
    others = [({pair} - had, 0) for had, (_, pair) in zip(own, _held_out(recording), strict=True)]
    number = _users_of(recording, set().union(*(pairs for pairs, _ in (*members, *others))))
    found = [
        [pair for pairs, itself in kind for pair in sorted(pairs) if number[pair] - itself <= MOST_OTHERS]
        for kind in (members, others)
    ]
    return auc(*(_weights(table, pairs) for pairs in found)) if all(found) else None


def _users_of(recording: Recording, pairs: set[Pair]) -> Counter[Pair]:
    """Count the users that have each of these pairs, of those whose histories are in the table."""
    dataset, window = recording.snapshot.dataset, recording.snapshot.config.transitions.window
    users = dataset.trainable_users.tolist()
    return Counter(pair for user in users for pair in pairs & _pairs(dataset.training_history(user), window))


def _pairs(history: npt.NDArray[np.integer], window: int) -> set[Pair]:
    source, target, _ = followers_in(history, window, 0)
    return set(zip(source.tolist(), target.tolist(), strict=True))


def _table(recording: Recording) -> TransitionTable | None:
    transitions = readable_transitions(recording.snapshot.config, recording.state)
    return table_of(transitions, recording.snapshot.config.transitions) if transitions else None


def _held_out(recording: Recording) -> list[tuple[RecordedClient, Pair]]:
    target = recording.snapshot.dataset.validation_target
    return [(client, (int(client.history[-1]), int(target(client.user)))) for client in recording.clients]


def log_probabilities(
    scorer: ModelScorer, histories: list[npt.NDArray[np.int32]], targets: list[int]
) -> npt.NDArray[np.float64]:
    """Compute the log-probability that a model gives each target after a history, without what a client holds [n]."""
    scores = scorer.score([UserContext()] * len(histories), histories)[:, 1:].astype(np.float64)
    found: npt.NDArray[np.float64] = log_softmax(scores, axis=1)[np.arange(len(targets)), np.array(targets) - 1]
    return found


def _weights(table: TransitionTable, pairs: Sequence[Pair]) -> npt.NDArray[np.float64]:
    """Look entries of the table up; 0 where it has none."""
    return np.array([table.weights[source][table.items[source] == target].sum() for source, target in pairs])


def auc(members: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> float:
    """Compute how well scores tell members from others: the area under the ROC curve; .5 is chance."""
    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    return float(roc_auc_score(labels, np.concatenate([members, others])))
