"""Linkage: which update of one round and which of another come from the same client, whom no name stands on."""

from collections.abc import Sequence

import numpy as np

from fedmem.attacks.interaction_inference import Scores, row_lengths
from fedmem.attacks.recorded import RecordedClient
from fedmem.federated.messages import ClientUpdate


def linked_share(clients: Sequence[RecordedClient]) -> float:
    """Share of the clients whose second update is, of all, the likest to their first, by the item rows that move."""
    first = np.stack([_profile(client.update) for client in clients])
    second = np.stack([_profile(client.again) for client in clients])
    return float(((first @ second.T).argmax(1) == np.arange(len(clients))).mean())


def _profile(update: ClientUpdate) -> Scores:
    lengths = row_lengths(update)
    centred = lengths - lengths.mean()
    profile: Scores = centred / max(float(np.linalg.norm(centred)), 1e-12)
    return profile
