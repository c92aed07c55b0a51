"""Membership inference: whether an interaction was trained on, from the final model or from the transition table."""

import numpy as np
import numpy.typing as npt
from scipy.special import log_softmax
from sklearn.metrics import roc_auc_score

from fedmem.attacks.recording import Recording
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.start import build_model
from fedmem.federated.transition_release import readable_transitions
from fedmem.memory.count_sketch import table_of
from fedmem.memory.transitions import TransitionTable


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
    transitions = readable_transitions(recording.snapshot.config, recording.state)
    if not transitions:
        return None
    table = table_of(transitions, recording.snapshot.config.transitions)
    dataset = recording.snapshot.dataset
    histories = [(client.history, dataset.validation_target(client.user)) for client in recording.clients]
    members = [_weight(table, int(h[-2]), int(h[-1])) for h, _ in histories if len(h) > 1]
    others = [_weight(table, int(h[-1]), target) for h, target in histories]
    return auc(np.array(members), np.array(others))


def log_probabilities(
    scorer: ModelScorer, histories: list[npt.NDArray[np.int32]], targets: list[int]
) -> npt.NDArray[np.float64]:
    """Compute the log-probability that a model gives each target after a history, without what a client holds [n]."""
    scores = scorer.score([UserContext()] * len(histories), histories)[:, 1:].astype(np.float64)
    found: npt.NDArray[np.float64] = log_softmax(scores, axis=1)[np.arange(len(targets)), np.array(targets) - 1]
    return found


def _weight(table: TransitionTable, source: int, target: int) -> float:
    """Look an entry of the table up; 0 where it has none."""
    return float(table.weights[source][table.items[source] == target].sum())


def auc(members: npt.NDArray[np.float64], others: npt.NDArray[np.float64]) -> float:
    """Compute how well scores tell members from others: the area under the ROC curve; .5 is chance."""
    labels = np.concatenate([np.ones(len(members)), np.zeros(len(others))])
    return float(roc_auc_score(labels, np.concatenate([members, others])))
