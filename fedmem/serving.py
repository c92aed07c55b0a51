"""Recommender: from a run's best checkpoint to recommendations with titles, for known users, new ones and histories."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from fedmem.checkpoint import Checkpoint, RunDirectory, Snapshot
from fedmem.contracts import RecommendationResponse, RecommendedItem
from fedmem.data.client_dataset import ClientDataset
from fedmem.data.interactions import Item
from fedmem.errors import ConfigError, UnknownUserError
from fedmem.evaluation.ranking_metrics import seen_mask
from fedmem.federated.client import FedMemClient
from fedmem.federated.local_objective import collate, local_objective, prototype_vectors
from fedmem.federated.parameters import load_parameters
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.start import build_model, item_blocks
from fedmem.memory.local_memory import LocalDynamicMemory, MemoryEntries
from fedmem.model.sasrec import no_dropout

Indices = npt.NDArray[np.integer]
Strategy = Literal["model", "global_memory", "cold_model"]


@dataclass(frozen=True)
class ScoredItem:
    """A recommended item and its score, greater is better."""

    item: Item
    score: float


@dataclass(frozen=True)
class Recommendation:
    """Items, best first, and where they come from.

    ``strategy`` is ``model`` (sequence and own memory), ``global_memory`` (fewer interactions than training asks for:
    the global abstract memory is the memory) or ``cold_model`` (the same without a global memory).
    """

    items: tuple[ScoredItem, ...]
    strategy: Strategy
    model_version: str
    round: int

    def response(self, user_id: str) -> RecommendationResponse:
        """The answer as it crosses HTTP."""
        items = tuple(
            RecommendedItem(
                item_id=scored.item.item_id,
                title=scored.item.label,
                genres=scored.item.genres,
                year=scored.item.year,
                score=scored.score,
            )
            for scored in self.items
        )
        return RecommendationResponse(
            user_id=user_id,
            items=items,
            strategy=self.strategy,
            model_version=self.model_version,
            round=self.round,
        )


class Recommender:
    """The best model of a run, ready to answer.

    Args:
        snapshot: the data, features and configuration of the run.
        checkpoint: the state to serve.
        model_version: a name for it.
        memory_of: what every user's local memory is taken to be instead, for controls.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        checkpoint: Checkpoint,
        model_version: str,
        memory_of: Callable[[int], MemoryEntries | None] | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.config = snapshot.config.model_copy(update={"device": "cpu"})  # wherever it was trained
        self.dataset = snapshot.dataset
        self.memories = checkpoint.memories
        self.model_version = model_version
        self.memory_of = memory_of
        self.round = checkpoint.server.round
        self.global_memory = checkpoint.server.global_memory if self.config.uses_prototypes else None
        model = build_model(self.config, self.dataset.num_items, snapshot.features)
        load_parameters(model, checkpoint.server.averaged)
        self.scorer = ModelScorer(model, self.global_memory)
        self._trained_users = frozenset(self.dataset.trainable_users.tolist())

    @classmethod
    def load(cls, path: Path) -> "Recommender":
        """The best checkpoint of a run directory.

        Raises:
            CheckpointError: if there is none, or it is damaged.
        """
        directory = RunDirectory(path)
        snapshot, best = directory.read_snapshot(), directory.read_best()
        return cls(snapshot, best, f"{path.resolve().name}-{best.server.round:06d}")

    def recommend(self, user_id: str, k: int = 10) -> Recommendation:
        """The k best unseen items for a user; someone unknown has an empty history.

        Raises:
            ConfigError: if k is not positive.
        """
        user = self.user_index(user_id)
        if user is None:
            return self.recommend_history(np.zeros(0, np.int32), k)
        return next(iter(self.recommend_users([user], k)))

    def recommend_users(self, users: Sequence[int], k: int) -> Iterator[Recommendation]:
        """As ``recommend`` for many user indices, each with the whole known history as input."""
        histories = [self.dataset.history(user) for user in users]
        contexts = [self.context(user, history) for user, history in zip(users, histories, strict=True)]
        yield from self._answers(contexts, histories, k)

    def recommend_history(self, history: Indices, k: int = 10) -> Recommendation:
        """For someone who sends a history (item indices, oldest first): its memory is replayed by the same gate."""
        return next(iter(self._answers([self.context_of_history(history)], [history], k)))

    def score(self, users: Indices, histories: Sequence[Indices]) -> npt.NDArray[np.float32]:
        """Scores [B, I + 1] as ``recommend`` ranks by, for evaluation: users [B], B histories of item indices."""
        contexts = [self.context(int(user), history) for user, history in zip(users, histories, strict=True)]
        return self.scorer.score(contexts, histories)

    def user_index(self, user_id: str) -> int | None:
        """The user's index, or None for someone unknown."""
        try:
            return self.dataset.vocabulary.user_index(user_id)
        except UnknownUserError:
            return None

    def context(self, user: int, history: Indices) -> UserContext:
        """What stands beside a user's history: the stored memory, or what a history without one replays."""
        preference = self.snapshot.user_features.of(user)
        if not self.config.uses_memory:
            return UserContext()
        if self.memory_of is not None:
            return UserContext(self.memory_of(user), preference)
        if user in self._trained_users:
            return UserContext(self.memories.get(user), preference)
        return self.context_of_history(history)

    def context_of_history(self, history: Indices) -> UserContext:
        """What stands beside a history that arrives without a memory: nothing of its own, or its replay."""
        if not self.config.uses_memory:
            return UserContext()
        if not self.is_new(history):
            return UserContext(self.replay(history))
        memory = LocalDynamicMemory(self.config.fedmem, self.config.model.sasrec_hidden_dim)
        if self.global_memory is not None:
            memory.initialize_from_global(self.global_memory)
        return UserContext(memory.query())

    def is_new(self, history: Indices) -> bool:
        """Whether a history is too short to train on, or has seen everything: the global memory is then the memory."""
        too_short = len(history) < self.config.data.min_sequence_length
        return too_short or len(np.unique(history)) >= self.dataset.num_items

    @torch.inference_mode()
    def replay(self, history: Indices) -> MemoryEntries:
        """The memory that a client with this history would write in one uncropped pass of the served model."""
        model = self.scorer.model
        config = self.config.model_copy(
            update={
                "training": self.config.training.model_copy(update={"crop_probability": 0.0}),
                "fedmem": self.config.fedmem.model_copy(update={"warmup_rounds": 0}),
            }
        )
        memory = LocalDynamicMemory(config.fedmem, config.model.sasrec_hidden_dim)
        data = ClientDataset(np.asarray(history, np.int32), self.dataset.num_items)
        client = FedMemClient(self.dataset.num_users, data, memory, config, item_blocks(self.snapshot.features))
        like = model.sasrec.item_embedding
        prototypes = prototype_vectors(self.global_memory, like)
        for step in client.local_steps(self.round):
            losses = local_objective(model, collate([step], prototypes, like, model.text_dim), config, no_dropout)
            client.remember(step, losses.surprise, losses.embedding, self.round)
        return memory.query()

    def _answers(
        self, contexts: Sequence[UserContext], histories: Sequence[Indices], k: int
    ) -> Iterator[Recommendation]:
        if k < 1:
            raise ConfigError(f"k = {k} is not positive; ask for at least one item")
        scores = self.scorer.score(contexts, histories)
        scores[:, 0] = -np.inf
        scores[seen_mask(histories, scores.shape[1])] = -np.inf
        for row, history in zip(scores, histories, strict=True):
            yield Recommendation(self._best(row, k), self._strategy(history), self.model_version, self.round)

    def _best(self, scores: npt.NDArray[np.float32], k: int) -> tuple[ScoredItem, ...]:
        order = np.argsort(-scores, kind="stable")[:k]
        found = [int(i) for i in order if np.isfinite(scores[i])]
        return tuple(ScoredItem(self.dataset.items[i - 1], float(scores[i])) for i in found)

    def _strategy(self, history: Indices) -> Strategy:
        if not self.is_new(history):
            return "model"
        return "cold_model" if self.global_memory is None else "global_memory"
