"""Recommender: one model version, ready to answer known users, new ones and histories, with titles and reasons."""

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import Checkpoint, RunDirectory, Snapshot
from fedmem.contracts import Explanation
from fedmem.data.interactions import Item
from fedmem.errors import ConfigError, ConflictError, UnknownError
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.federated.start import build_model
from fedmem.memory.local_memory import MemoryEntries
from fedmem.serving.answers import Question, Recommendation, ScoredItem, SimilarTo
from fedmem.serving.asked import Asked
from fedmem.serving.catalogue import ServedCatalogue
from fedmem.serving.explanation import Explainer
from fedmem.serving.new_items import encode, place, with_rows
from fedmem.serving.ranking import Best, Wanted, ranking_of
from fedmem.serving.single_query import SingleQueries
from fedmem.serving.user_contexts import UserContexts
from fedmem.serving.user_vectors import CAPACITY, Known, Place, UserVector, UserVectors

Indices = npt.NDArray[np.integer]
_NO_INDICES = np.zeros(0, np.int32)


class Recommender:
    """One model version. It never changes, but for users who ask to be forgotten; a new item makes another one.

    torch's and numpy's threads are the process's own business: one (OMP_NUM_THREADS=1) is best for single answers.

    Args:
        snapshot: the data, features and configuration of the run.
        checkpoint: the state to serve.
        model_version: a name for it.
        memory_of: what every user's local memory is taken to be instead, for controls.
        kept_vectors: of how many users the vectors are kept.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        checkpoint: Checkpoint,
        model_version: str,
        memory_of: Callable[[int], MemoryEntries | None] | None = None,
        kept_vectors: int = CAPACITY,
    ) -> None:
        self.snapshot = snapshot
        self.config = snapshot.config.model_copy(update={"device": "cpu"})  # wherever it was trained
        self.dataset = snapshot.dataset
        self.model_version = model_version
        self.round = checkpoint.server.round
        self.global_memory = checkpoint.server.global_memory if self.config.uses_prototypes else None
        self.memories = dict(checkpoint.memories)
        model = build_model(self.config, self.dataset.num_items, snapshot.features, checkpoint.server.averaged)
        self.scorer = ModelScorer(model, self.global_memory)
        self.contexts = UserContexts(
            config=self.config,
            dataset=self.dataset,
            features=snapshot.features,
            user_features=snapshot.user_features,
            memories=self.memories,
            global_memory=self.global_memory,
            model=model,
            round=self.round,
            memory_of=memory_of,
        )
        self.catalogue = ServedCatalogue(self.dataset.items, self.dataset.num_items)
        self._trained_model = model
        self._forgotten: set[str] = set()
        self._ranking = ranking_of(self.scorer.columns.numpy())
        self._queries = SingleQueries(self.scorer)
        self._explainer = Explainer(self.scorer, self._queries, self.catalogue, snapshot.features)
        self._vectors = UserVectors(kept_vectors)

    @classmethod
    def load(cls, path: Path, round: int | None = None, version: str | None = None) -> "Recommender":
        """A checkpoint of a run directory.

        Args:
            path: the run directory.
            round: the round of the checkpoint; None for the best.
            version: the model's name; None makes one of the directory's name and the round.

        Raises:
            CheckpointError: if there is none, or it is damaged.
        """
        directory = RunDirectory(path)
        snapshot = directory.read_snapshot()
        checkpoint = directory.read_best() if round is None else directory.read_checkpoint(round)
        return cls(snapshot, checkpoint, version or f"{path.resolve().name}-{checkpoint.server.round:06d}")

    # Answers

    def answer(self, question: Question) -> Recommendation:
        """The best items for a question.

        Ids that the catalogue does not hold are left out and listed in ``unknown_items``. Interactions with items that
        are newer than the model are not part of the sequence, but are hidden as seen.

        Raises:
            ConfigError: if no item is of the category asked for.
        """
        return self.answer_to(self.ask(question))

    def ask(self, question: Question) -> Asked:
        """A question understood, in microseconds: it says whether the answer takes long."""
        user = None if question.user_id is None else self.user_index(question.user_id)
        told, unknown = self.catalogue.indices([*(question.history or ()), *question.since])
        if question.history is None and user is not None:
            told = np.concatenate([self.dataset.history(user), told])
        excluded, unknown_too = self.catalogue.indices(question.exclude) if question.exclude else (_NO_INDICES, [])
        again = self.config.data.repeats == "offer" if question.include_seen is None else question.include_seen
        hidden = excluded if again else np.concatenate([told, excluded]) if len(excluded) else told
        history = told if len(self.catalogue) == self.catalogue.trained else told[told <= self.catalogue.trained]
        place, vector = self._kept_vector(question, history)
        missing = tuple(dict.fromkeys([*unknown, *unknown_too]))
        return Asked(question, user, history, hidden, missing, self.contexts, place, vector)

    def answer_to(self, asked: Asked) -> Recommendation:
        """The answer to a question of this recommender."""
        vector, context = self._vector(asked)
        (best,) = self._ranking.best(vector.query[None], [self._wanted(asked)])
        return self._recommendation(asked, vector, context, best)

    def answer_many(self, questions: Sequence[Question]) -> list[Recommendation]:
        """As ``answer`` for each question, to the last bit: only the search for the best is done together."""
        if not questions:
            return []
        # One by one, because a batch rounds otherwise, and pages of one list would then not fit together.
        everyone = [(asked, *self._vector(asked)) for asked in map(self.ask, questions)]
        queries = np.stack([vector.query for _, vector, _ in everyone])
        found = self._ranking.best(queries, [self._wanted(asked) for asked, _, _ in everyone])
        return [self._recommendation(*one, best) for one, best in zip(everyone, found, strict=True)]

    def recommend(self, user_id: str, k: int = 10) -> Recommendation:
        """The k best unseen items for a user; someone unknown has an empty history.

        Raises:
            ConfigError: if k is not positive.
        """
        return self.answer(Question(user_id, k=k))

    def recommend_users(self, users: Sequence[int], k: int) -> Iterator[Recommendation]:
        """As ``recommend`` for many user indices, each with the whole known history as input."""
        yield from self.answer_many([Question(self.dataset.vocabulary.user_id(user), k=k) for user in users])

    def similar(self, item_id: str, k: int = 10) -> SimilarTo:
        """The k items whose rows of the item matrix have the greatest cosine to this one's, nearest first.

        Raises:
            UnknownItemError: if there is no such item.
            ConfigError: if k is not positive.
        """
        index = self.catalogue.index(item_id)
        if k < 1:
            raise ConfigError(f"k = {k} is not positive; ask for at least one item")
        columns = self.scorer.columns.numpy()
        length = np.maximum(np.sqrt(np.square(columns).sum(0)), 1e-12)
        cosine = (columns[:, index] @ columns) / length / length[index]
        cosine[[0, index]] = -np.inf
        order = np.argsort(-cosine, kind="stable")[: min(k, len(self.catalogue) - 1)]
        items = tuple(ScoredItem(self.catalogue.item(int(i)), float(np.clip(cosine[i], -1, 1))) for i in order)
        return SimilarTo(self.catalogue.item(index), items, self.model_version, self.dataset.name, self.round)

    # Other items and users

    def with_items(self, items: Sequence[Item]) -> "Recommender":
        """A recommender that knows these items too, or knows them anew, from their texts; this one stays as it is.

        Items are best made by ``described_item``. Where the model uses no texts, only the title, genres and year of an
        item that it was trained with can be told anew.

        Raises:
            FeatureError: if a new item cannot be placed, because the model uses no texts or vectors from a file.
        """
        if not items:
            return self
        other = copy.copy(self)
        other.catalogue = self.catalogue.with_items(items)
        if self.snapshot.features.text is not None or len(other.catalogue) > other.catalogue.trained:
            other._place(items)
        other._explainer = Explainer(other.scorer, other._queries, other.catalogue, self.snapshot.features)
        return other

    def encode(self, items: Sequence[Item]) -> None:
        """Let the items' texts be encoded and put into the encoder's cache, so that ``with_items`` need not wait.

        Raises:
            FeatureError: as ``with_items``.
        """
        encode(self.snapshot, {number: item.text for number, item in enumerate(items)})

    def _place(self, items: Sequence[Item]) -> None:
        """Put these items' texts into the model, of a copy that nobody uses yet.

        Users' vectors depend on the items that the model was trained with, and stay as long as those do.
        """
        placed = encode(self.snapshot, {self.catalogue.index(item.item_id): item.text for item in items})
        trained = placed.up_to(self.catalogue.trained)
        if trained.vectors:
            self.contexts = replace(self.contexts, model=place(self.contexts.model, self._trained_model, trained))
            self._vectors = UserVectors(self._vectors.capacity)
        table = with_rows(self.scorer.table, self._trained_model, placed, len(self.catalogue))
        self.scorer = ModelScorer(self.contexts.model, self.global_memory, table)
        self._queries = SingleQueries(self.scorer)
        self._ranking = self._ranking.with_columns(self.scorer.columns.numpy(), np.array(sorted(placed.vectors)))

    def with_prototype(self, index: int) -> "Recommender":
        """A recommender whose global memory is this prototype alone; this one stays as it is.

        Raises:
            ConflictError: if the model has no prototypes.
            UnknownError: if it has none of this index.
        """
        if self.global_memory is None:
            raise ConflictError(
                f"model {self.model_version} has no global prototypes: train with "
                "fedmem.enable_prototype_aggregation=true, or ask a model that has some"
            )
        count = len(self.global_memory.mass)
        if index not in range(count):
            raise UnknownError(f"model {self.model_version} has no prototype {index}; it has 0 to {count - 1}")
        other = copy.copy(self)
        other.global_memory = self.global_memory.scaled(np.arange(count) == index)
        other.contexts = replace(self.contexts, global_memory=other.global_memory)
        other.scorer = ModelScorer(self.scorer.model, other.global_memory, self.scorer.table)
        other._queries = SingleQueries(other.scorer)
        other._explainer = Explainer(other.scorer, other._queries, other.catalogue, self.snapshot.features)
        other._vectors = UserVectors(self._vectors.capacity)
        return other

    def forget_user(self, user_id: str) -> None:
        """Erase a user's memory and vectors here; from now on the id is that of someone unknown."""
        user = self.user_index(user_id)
        if user is not None:  # others are unknown as it is, and there is no end to them
            self._forgotten.add(user_id)
            self.memories.pop(user, None)
        self._vectors.forget(user_id)

    # Evaluation, and what it shares with answers

    def score(self, users: Indices, histories: Sequence[Indices]) -> npt.NDArray[np.float32]:
        """Scores [B, I + 1] as ``recommend`` ranks by, for evaluation: users [B], B histories of item indices."""
        contexts = [self.context(int(user), history) for user, history in zip(users, histories, strict=True)]
        return self.scorer.score(contexts, histories)

    def scores(self, question: Question) -> npt.NDArray[np.float32]:
        """Every item's score in the answer to a question [I], hidden ones included."""
        vector, _ = self._vector(self.ask(question))
        scores: npt.NDArray[np.float32] = vector.query @ self.scorer.columns[:, 1:].numpy()
        return scores

    def user_index(self, user_id: str) -> int | None:
        """The user's index, or None for someone unknown or forgotten."""
        if user_id in self._forgotten:
            return None
        return self.dataset.vocabulary.find_user(user_id)

    def context(self, user: int, history: Indices) -> UserContext:
        """What stands beside a user's history: the stored memory, or what a history without one replays."""
        return self.contexts.of_user(user, history)

    # How a question becomes an answer

    def _kept_vector(self, question: Question, history: Indices) -> tuple[Place | None, UserVector | None]:
        """Where the user's vector is kept, and the vector if it is there. Without a user or a history there is none."""
        user_id = question.user_id
        if user_id is None or question.memory is not None or not question.reads_memory or not len(history):
            return None, None
        return self._vectors.find(Known.of(user_id, history))

    def _vector(self, asked: Asked) -> tuple[UserVector, UserContext | None]:
        """The user's side of the score and, where it is needed, what it was read from: no history is replayed twice."""
        context = asked.context() if asked.needs_context else None
        if asked.vector is not None:
            return asked.vector, context
        query = self._queries.query(context, asked.history)
        vector = UserVector(query, self.contexts.strategy(asked.user, asked.history, context))
        if asked.place is not None:
            self._vectors.put(asked.place, vector)
        return vector, context

    def _wanted(self, asked: Asked) -> Wanted:
        question = asked.question
        outside = None if question.category is None else self.catalogue.outside(question.category)
        return Wanted(question.offset + question.k + 1, asked.hidden, outside)  # one more, to see if there is another

    def _recommendation(
        self, asked: Asked, vector: UserVector, context: UserContext | None, best: Best
    ) -> Recommendation:
        question, (found, scores) = asked.question, best
        end = question.offset + question.k
        more, found, scores = len(found) > end, found[question.offset : end], scores[question.offset : end]
        items, explanation = self._scored(asked, context, found.tolist(), scores.tolist())
        return Recommendation(
            items=items,
            strategy=vector.strategy,
            model_version=self.model_version,
            dataset=self.dataset.name,
            round=self.round,
            offset=question.offset,
            more=more,
            unknown_items=asked.unknown,
            explanation=explanation,
        )

    def _scored(
        self, asked: Asked, context: UserContext | None, found: list[int], scores: list[float]
    ) -> tuple[tuple[ScoredItem, ...], Explanation | None]:
        items = [self.catalogue.item(index) for index in found]
        if not asked.question.explain:
            return tuple(map(ScoredItem, items, scores)), None
        explanation, parts = self._explainer.explain(context, asked.history, np.array(found, np.int64))
        return tuple(map(ScoredItem, items, scores, parts)), explanation
