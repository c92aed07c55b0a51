"""Recommender: one model version, ready to answer known users, new ones and histories, with titles and reasons."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedmem.checkpoint import Checkpoint, RunDirectory, Snapshot, check_fits
from fedmem.config import ExperimentConfig
from fedmem.contracts import Explanation, Selection
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.errors import ConfigError, ConflictError, UnknownError
from fedmem.federated.scoring import ModelScorer, UserContext
from fedmem.interruption import heeded
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.prototypes import Prototypes
from fedmem.modality import Modality
from fedmem.serving.answers import Recommendation, ScoredItem, SimilarTo
from fedmem.serving.catalogue import ServedCatalogue
from fedmem.serving.explanation import Explainer
from fedmem.serving.new_items import encode, scorer_with, waits_for_encoder
from fedmem.serving.question import Question, ResolvedQuestion
from fedmem.serving.ranking import Best, Ranking, most_similar, nearest_before, ranking_of
from fedmem.serving.single_query import SingleQueries
from fedmem.serving.trained_model import TrainedModel
from fedmem.serving.user_contexts import UserContexts
from fedmem.serving.user_vectors import CAPACITY, UserVector, UserVectorCache
from fedmem.serving.vector_reader import VectorReader

Indices = npt.NDArray[np.integer]
Change = tuple[str, Sequence[str], Sequence[str]]
_NO_INDICES = np.zeros(0, np.int32)


@dataclass(frozen=True, eq=False, repr=False)
class Recommender:
    """One model version with the items of now. It never changes: another item or global memory makes another one.

    torch's and numpy's threads are the process's own business: one (OMP_NUM_THREADS=1) is best for single answers.

    Attributes:
        trained: what the checkpoint left.
        catalogue: the items, those of the snapshot first.
        scorer: the model and the global memory that answer, with the matrix of these items.
        ranking: finds the best of them.
        vectors: users' vectors that were computed before, by this scorer's model and global memory.
        model_version: its name.
        round: the round after which its model was kept.
        dataset: the data that its model was trained on.
        config: the configuration that its model was trained by.
        contexts: what stands beside histories.
        queries: the scorer's queries of single users.
        reader: finds or computes the user's side of a score.
        explainer: what an answer is made of.
    """

    trained: TrainedModel
    catalogue: ServedCatalogue
    scorer: ModelScorer
    ranking: Ranking
    vectors: UserVectorCache
    model_version: str = field(init=False)
    round: int = field(init=False)
    dataset: FederatedDataset = field(init=False)
    config: ExperimentConfig = field(init=False)
    contexts: UserContexts = field(init=False)
    queries: SingleQueries = field(init=False)
    reader: VectorReader = field(init=False)
    explainer: Explainer = field(init=False)

    def __post_init__(self) -> None:
        trained, snapshot = self.trained, self.trained.snapshot
        contexts = UserContexts(trained, self.scorer.global_memory, self.scorer.model)
        queries = SingleQueries(self.scorer)
        derived = {
            "model_version": trained.version,
            "round": trained.round,
            "dataset": snapshot.dataset,
            "config": snapshot.config,
            "contexts": contexts,
            "queries": queries,
            "reader": VectorReader(self.scorer, contexts, queries, self.vectors),
            "explainer": Explainer(self.scorer, queries, self.catalogue, snapshot.features),
        }
        for name, part in derived.items():
            object.__setattr__(self, name, part)

    @classmethod
    def of(
        cls,
        snapshot: Snapshot,
        checkpoint: Checkpoint,
        model_version: str,
        memory_of: Callable[[int], MemoryEntries | None] | None = None,
        kept_vectors: int = CAPACITY,
    ) -> "Recommender":
        """Assemble a recommender of the items that a model was trained with.

        Args:
            snapshot: the data, features and configuration of the run.
            checkpoint: the state to serve.
            model_version: a name for it.
            memory_of: what every user's local memory is taken to be instead, for controls.
            kept_vectors: of how many users the vectors are kept.
        """
        trained = TrainedModel.of(snapshot, checkpoint, model_version, memory_of)
        transitions = trained.transition_table()
        scorer = ModelScorer(trained.model, trained.global_memory, transitions=transitions, strengths=trained.strengths)
        catalogue = ServedCatalogue(snapshot.dataset.items, snapshot.dataset.num_items)
        ranking = ranking_of(scorer.columns.numpy())
        return cls(trained, catalogue, scorer, ranking, UserVectorCache(kept_vectors))

    @classmethod
    def load(cls, path: Path, round: int | None = None, version: str | None = None) -> "Recommender":
        """Read a checkpoint of a run directory.

        Args:
            path: the run directory.
            round: the round of the checkpoint; None for the best.
            version: the model's name; None makes one of the directory's name and the round.

        Raises:
            CheckpointError: if there is none, or it is damaged.
        """
        directory = RunDirectory(path)
        snapshot = directory.read_snapshot()
        checkpoint = directory.read_best() if round is None else directory.checkpoints.read(round)
        check_fits(snapshot, checkpoint, str(path))
        return cls.of(snapshot, checkpoint, version or f"{path.resolve().name}-{checkpoint.server.round:06d}")

    @classmethod
    def load_to_answer(cls, path: Path) -> "Recommender":
        """Read the best checkpoint of a run directory to answer people, ``with_held_out`` once the run was tested.

        Raises:
            CheckpointError: as ``load``.
        """
        recommender = cls.load(path)
        return recommender.with_held_out() if RunDirectory(path).read_record().finished else recommender

    # Answers

    def answer(self, question: Question) -> Recommendation:
        """Find the best items for a question.

        Ids that the catalogue does not hold are left out and listed in ``unknown_items``. Interactions with items that
        are newer than the model are not part of the sequence, but are hidden as seen; a history of such alone is read
        as the trained items that are nearest by text.

        Raises:
            ConfigError: if a filter asks for what no item has.
        """
        return self.answer_resolved(self.resolve(question))

    def resolve(self, question: Question) -> ResolvedQuestion:
        """Put a question into this model's terms, in microseconds: the result says whether the answer takes long.

        Raises:
            ConfigError: as ``answer``.
        """
        selection = question.selection
        user = None if question.user_id is None else self.user_index(question.user_id)
        seen, unknown = self.catalogue.indices([*(question.history or ()), *question.since])
        if question.history is None and user is not None:
            seen = np.concatenate([self.dataset.history(user), seen])
        excluded, unknown_too = self.catalogue.indices(selection.exclude) if selection.exclude else (_NO_INDICES, [])
        again = self.config.data.repeats == "offer" if selection.include_seen is None else selection.include_seen
        hidden = excluded if again else np.concatenate([seen, excluded]) if len(excluded) else seen
        history = seen if len(self.catalogue) == self.catalogue.trained else seen[seen <= self.catalogue.trained]
        if not len(history) and len(seen):
            history = self._likes_of(seen)
        outside, missing = self.catalogue.outside(selection), tuple(dict.fromkeys([*unknown, *unknown_too]))
        slot, vector = self.reader.find(question, history)
        return ResolvedQuestion(
            question,
            user,
            history,
            hidden,
            outside,
            missing,
            self.contexts,
            slot,
            vector,
            self.scorer.transitions,
        )

    def _likes_of(self, new: Indices) -> npt.NDArray[np.int32]:
        """Find the trained items that a history of new items alone is read as: by their texts, the nearest of each.

        Of these the sequence model knows what users go on to; of the new ones it knows no sequence.
        """
        newest = new[-self.config.model.max_seq_len :]
        return nearest_before(self.scorer.columns.numpy(), newest, self.catalogue.trained)

    def answer_resolved(self, resolved: ResolvedQuestion) -> Recommendation:
        """Answer a question that this recommender resolved."""
        vector, context = self.reader.read(resolved)
        (best,) = self.ranking.best(vector.query[None], [resolved.top_k(vector.remembered)])
        return self._recommendation(resolved, vector, context, best)

    def answer_many(self, questions: Sequence[Question]) -> list[Recommendation]:
        """Answer each question as ``answer`` does, to the last bit; a stop is heeded between two of them.

        Done together are the search for the best, and the encoding of preference texts.
        """
        if not questions:
            return []
        # One by one, because a batch rounds otherwise, and pages of one list would then not fit together.
        read = [(resolved, *self.reader.read(resolved)) for resolved in heeded(self._with_texts(questions))]
        queries = np.stack([vector.query for _, vector, _ in read])
        found = self.ranking.best(queries, [resolved.top_k(vector.remembered) for resolved, vector, _ in read])
        return [self._recommendation(*one, best) for one, best in zip(read, found, strict=True)]

    def _with_texts(self, questions: Sequence[Question]) -> list[ResolvedQuestion]:
        """Resolve questions; those whose histories are to be replayed have their preference texts encoded."""
        resolved = [self.resolve(question) for question in questions]
        replayed = [place for place, one in enumerate(resolved) if one.takes_long]
        texts = self.contexts.texts([resolved[place].history for place in replayed]) if replayed else []
        for place, text in zip(replayed, texts, strict=True):
            resolved[place] = replace(resolved[place], text=text)
        return resolved

    def work(self, question: Question) -> int:
        """Estimate the work of an answer, in microseconds, as that of so many recommended items."""
        selection = question.selection
        if not selection.memory or question.memory is not None:
            return selection.end
        user = None if question.user_id is None else self.user_index(question.user_id)
        length = len(question.history or ()) + len(question.since)
        if question.history is None and user is not None:
            length += len(self.dataset.history(user))
        return selection.end + self.contexts.work(user, length)

    def recommend(self, user_id: str, k: int = 10) -> Recommendation:
        """Find the k best unseen items for a user; an unknown one has an empty history.

        Raises:
            ConfigError: if k is not positive.
        """
        return self.answer(Question(user_id, selection=best_of(k)))

    def recommend_users(self, users: Sequence[int], k: int) -> list[Recommendation]:
        """Recommend to many users by index, each with the whole known history as input, as ``recommend`` does."""
        selection = best_of(k)
        return self.answer_many([Question(self.dataset.vocabulary.user_id(u), selection=selection) for u in users])

    def similar(self, item_id: str, k: int = 10) -> SimilarTo:
        """Find the k items whose rows of the item matrix have the greatest cosine to this one's, nearest first.

        Raises:
            UnknownItemError: if there is no such item.
            ConfigError: if k is not positive.
        """
        index = self.catalogue.index(item_id)
        hidden = self.catalogue.hidden
        found, cosines = most_similar(self.scorer.columns.numpy(), index, best_of(k).k + len(hidden))
        scored = map(ScoredItem, map(self.catalogue.item, found.tolist()), cosines.tolist())
        items = tuple(one for one in scored if one.item.item_id not in hidden)[:k]
        return SimilarTo(self.catalogue.item(index), items, self.model_version, self.dataset.name, self.round)

    # Other items and users

    def with_items(self, items: Sequence[Item]) -> "Recommender":
        """Make a recommender that knows these items too, or knows them anew, from their texts.

        Items are best made by ``described_item``. Where the model uses no texts, only the title, genres and year of an
        item that it was trained with can be told anew.

        Raises:
            FeatureError: if a new item cannot be placed, because the model uses no texts or vectors from a file.
        """
        if not items:
            return self
        catalogue = self.catalogue.with_items(items)
        if Modality.TEXT not in self.trained.snapshot.features.vectors and len(catalogue) == catalogue.trained:
            return replace(self, catalogue=catalogue)
        texts = encode(self.trained.snapshot, {catalogue.index(item.item_id): item.text for item in items})
        scorer = scorer_with(self.scorer, self.trained.model, texts, catalogue)
        ranking = self.ranking.with_columns(scorer.columns.numpy(), np.array(sorted(texts.vectors)))
        # Users' vectors depend on the items that the model was trained with, and stay as long as those do.
        vectors = self.vectors if scorer.model is self.scorer.model else UserVectorCache(self.vectors.capacity)
        return replace(self, catalogue=catalogue, scorer=scorer, ranking=ranking, vectors=vectors)

    def with_hidden(self, hidden: frozenset[str]) -> "Recommender":
        """Make a recommender that offers none of these items, and all others."""
        return replace(self, catalogue=self.catalogue.with_hidden(hidden))

    def encode(self, items: Sequence[Item]) -> None:
        """Let the items' texts be encoded and put into the encoder's cache, so that ``with_items`` need not wait.

        Raises:
            FeatureError: as ``with_items``.
        """
        encode(self.trained.snapshot, {number: item.text for number, item in enumerate(items)})

    def waits_for_encoder(self, items: Sequence[Item]) -> bool:
        """Say whether ``with_items`` would first load the text encoder, which takes seconds, once a process."""
        return waits_for_encoder(self.trained.snapshot, (item.text for item in items))

    def with_prototype(self, index: int) -> "Recommender":
        """Make a recommender whose global memory is this prototype alone.

        Raises:
            ConflictError: if the model has no prototypes.
            UnknownError: if it has none of this index.
        """
        prototypes = self._prototypes()
        count = len(prototypes.mass)
        if index not in range(count):
            raise UnknownError(f"model {self.model_version} has no prototype {index}; it has 0 to {count - 1}")
        alone = prototypes.scaled(np.arange(count) == index)
        scorer = ModelScorer(self.scorer.model, alone, self.scorer.table)
        return replace(self, scorer=scorer, vectors=UserVectorCache(self.vectors.capacity))

    def _prototypes(self) -> Prototypes:
        if self.scorer.global_memory is None:
            raise ConflictError(
                f"model {self.model_version} has no global prototypes: train with "
                "ablation.disable_moe=false and fedmem.enable_prototype_aggregation=true, or ask a model that has some"
            )
        return self.scorer.global_memory

    def forget_user(self, user_id: str, since: Sequence[str] = ()) -> None:
        """Erase a user's memory, transitions and vectors here; from now on the id is that of an unknown user.

        ``since`` are the item ids that ``count`` was told of the user last.
        """
        self.trained.forget(user_id, self._trained_items(since))
        self.refresh()
        self.vectors.forget(user_id)

    # Transitions of what is newer than the model

    def with_held_out(self) -> "Recommender":
        """Make the recommender that answers people: what was held out for validation and test is counted too.

        It must not be evaluated any more: its transitions lead to what a test would ask for.
        """
        trained = self.trained.with_held_out()
        if trained is self.trained:
            return self
        now, table = self.scorer, trained.transition_table()
        scorer = ModelScorer(now.model, now.global_memory, now.table, table, now.strengths, now.kin)
        return replace(self, trained=trained, scorer=scorer)

    def count(self, changes: Iterable[Change]) -> None:
        """Count among the transitions what people did since the snapshot; ``refresh`` lets answers read it.

        Where the transition memory has a budget of privacy nothing is counted: it waits for the next training.

        Args:
            changes: of each user the id, the item ids that were counted before, and those that are to be now, oldest
                first. Items that are newer than the model are left out.
        """
        known = self._trained_items
        self.trained.count((user_id, known(before), known(now)) for user_id, before, now in changes)

    def refresh(self) -> None:
        """Let answers read all that was counted by now."""
        self.scorer.transitions = self.trained.transition_table()

    def _trained_items(self, item_ids: Sequence[str]) -> npt.NDArray[np.int32]:
        indices, _ = self.catalogue.indices(item_ids)
        return indices[indices <= self.catalogue.trained]

    # Evaluation, and what it shares with answers

    def score(self, users: Indices, histories: Sequence[Indices]) -> npt.NDArray[np.float32]:
        """Compute the scores [B, I + 1] that ``recommend`` ranks by: users [B], B histories of item indices.

        Raises:
            ConflictError: if the transitions hold what was held out: whoever evaluates would read the answer.
        """
        if self.trained.held_out:
            raise ConflictError(
                f"model {self.model_version} has counted what was held out for validation and test, and cannot be "
                "evaluated: load it without"
            )
        contexts = [self.context(int(user), history) for user, history in zip(users, histories, strict=True)]
        return self.scorer.score(contexts, histories)

    def scores(self, question: Question) -> npt.NDArray[np.float32]:
        """Compute every item's score in the answer to a question [I], hidden ones included."""
        vector, _ = self.reader.read(self.resolve(question))
        scores: npt.NDArray[np.float32] = vector.query @ self.scorer.columns.numpy()
        if vector.remembered is not None:
            vector.remembered.add_to(scores)
        return scores[1:]

    def user_index(self, user_id: str) -> int | None:
        """Look up a user's index; None for an unknown or a forgotten user."""
        return self.trained.user_index(user_id)

    def context(self, user: int, history: Indices) -> UserContext:
        """Find a user's context: the stored memory, or what replaying a history without one yields."""
        return self.contexts.of_user(user, history)

    def context_of(self, user: int | None, history: Indices) -> UserContext:
        """Find the context of a user, known or not."""
        return self.contexts.of_history(history) if user is None else self.context(user, history)

    # How a question becomes an answer

    def _recommendation(
        self, resolved: ResolvedQuestion, vector: UserVector, context: UserContext | None, best: Best
    ) -> Recommendation:
        offset, end = resolved.selection.offset, resolved.selection.end
        found, scores = best
        page = found[offset:end].tolist(), scores[offset:end].tolist()
        items, explanation = self._scored(resolved, context, *page)
        return Recommendation(
            items=items,
            strategy=vector.strategy,
            model_version=self.model_version,
            dataset=self.dataset.name,
            round=self.round,
            offset=offset,
            more=len(found) > end,
            unknown_items=resolved.unknown,
            explanation=explanation,
        )

    def _scored(
        self, resolved: ResolvedQuestion, context: UserContext | None, found: list[int], scores: list[float]
    ) -> tuple[tuple[ScoredItem, ...], Explanation | None]:
        items = [self.catalogue.item(index) for index in found]
        if not resolved.selection.explain:
            return tuple(map(ScoredItem, items, scores)), None
        indices = np.array(found, np.int64)
        explanation, parts = self.explainer.explain(context, resolved.history, indices, resolved.transitions)
        return tuple(map(ScoredItem, items, scores, parts)), explanation


@lru_cache(maxsize=256)
def best_of(k: int) -> Selection:
    """Select the k best, also more than one answer over HTTP may hold.

    Raises:
        ConfigError: if k is not positive.
    """
    if k < 1:
        raise ConfigError(f"k = {k} is not positive; ask for at least one item")
    return Selection().model_copy(update={"k": k})
