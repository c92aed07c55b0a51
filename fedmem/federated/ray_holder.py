"""Holder: what each of Ray's actors does. It holds the histories and memories of its clients, and answers for them."""

import importlib
import os
import pickle
import tempfile
from contextlib import suppress
from pathlib import Path

import torch

from fedmem.federated.client_host import ClientHost
from fedmem.federated.messages import Broadcast
from fedmem.federated.start import build_model
from fedmem.interruption import heeding
from fedmem.memory.memory_store import MemoryStore


def held_by(host: ClientHost, others: list[int]) -> bytes:
    """Write what an actor needs to be the host of all clients but these, whose histories and texts it does not get."""
    dataset, texts = host.dataset.without_users(others), host.user_features.without_users(others)
    return pickle.dumps((host.config, dataset, host.features, texts, host.first))


class _Abandoned(Exception):
    """The round that this actor works for was given up."""


def _end_if_abandoned() -> None:
    if importlib.import_module("ray").get_runtime_context().is_canceled():
        raise _Abandoned


class Holder:
    """The devices of an actor's clients.

    Args:
        held: what ``held_by`` wrote.
        threads: with how many it computes.
        folder: where the run has its working files; on a machine that lacks it, the actor has its own elsewhere.
        number: which of the actors it is.
    """

    def __init__(self, held: bytes, threads: int, folder: Path, number: int) -> None:
        ray = importlib.import_module("ray")
        os.umask(0o077)  # a cluster's workers have any
        place = folder if folder.exists() else Path(tempfile.gettempdir(), folder.name)
        place.mkdir(mode=0o700, exist_ok=True)
        self._memories = place / f"memories.{number}"
        if ray.get_runtime_context().was_current_actor_reconstructed and not self._memories.exists():
            raise RuntimeError(f"{self._memories} is not on this machine, and with it what clients remember")
        torch.set_num_threads(threads)
        config, dataset, features, texts, first = pickle.loads(held)  # of this run's own process
        capacity, dim = config.fedmem.memory_capacity, config.model.sasrec_hidden_dim
        self.store = MemoryStore(self._memories, dataset.num_users, capacity, dim)
        model = build_model(config, dataset.num_items, features)
        self.host = ClientHost(config, dataset, features, texts, model, self.store, first)
        self._received: tuple[int, Broadcast] | None = None

    def answer(self, asked: bytes, number: int, broadcast: bytes) -> bytes:
        """Answer for some clients; ``number`` counts broadcasts."""
        what, users, rest = pickle.loads(asked)
        if self._received is None or self._received[0] != number:
            self._received = number, pickle.loads(broadcast)
        with heeding(_end_if_abandoned):
            return pickle.dumps(getattr(self.host, what)(users, self._received[1], *rest))

    def remember(self, asked: bytes) -> bytes:
        """Read from or write to the store, for a checkpoint."""
        what, arguments = pickle.loads(asked)
        return pickle.dumps(getattr(self.store, what)(*arguments))

    def forget(self) -> None:
        """Remove the file with the memories."""
        self.store.close()
        self._memories.unlink()
        with suppress(OSError):  # others have files there still
            self._memories.parent.rmdir()
