"""The model in service: one reference to it, and the few that were in service before."""

from collections import OrderedDict
from dataclasses import dataclass

from backend.errors import NotReadyError
from backend.new_interactions import NewInteractions
from fedmem.errors import ConflictError, UnknownModelError
from fedmem.serving import Recommender
from fedmem.storage.catalogue import CatalogueStore

KEPT = 3
PAGE = 10_000  # interactions read at once


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model version in memory; never changed, but replaced.

    Attributes:
        recommender: answers.
        dataset: the name of the data set it was trained on; None for a run without a database.
        job_id: the job that left it; None as above.
        new_interactions: what users did since its snapshot.
        items_version: the version of the data set's items that it knows.
    """

    recommender: Recommender
    dataset: str | None
    job_id: int | None
    new_interactions: NewInteractions
    items_version: int = -1

    @classmethod
    def of_run(cls, recommender: Recommender) -> "ServedModel":
        """Serve a run directory's model, without a database behind it."""
        return cls(recommender, None, None, NewInteractions(0))

    @property
    def version(self) -> str:
        """The model's name."""
        return self.recommender.model_version

    def catch_up(self, catalogue: CatalogueStore) -> None:
        """Read the interactions that came since the last time; they count from the next answer on."""
        assert self.dataset is not None
        while rows := catalogue.since(self.dataset, self.new_interactions.last_id, PAGE):
            self.new_interactions.add(rows)
            if len(rows) < PAGE:
                return

    def count_new(self) -> None:
        """Count among the transitions what came since the last time; they are read once the recommender refreshes."""
        self.recommender.count(self.new_interactions.take_changes())

    def knows(self, user_id: str) -> bool:
        """Say whether anything is known of a user."""
        return user_id in self.new_interactions or self.recommender.user_index(user_id) is not None


class ServedModels:
    """Which model answers. Readers take one reference and use it throughout; nothing here waits.

    Attributes:
        awaited: as long as there is none, what will bring one, in a sentence.
    """

    awaited = "queue a training job with POST /jobs and let it finish"

    def __init__(self, current: ServedModel | None = None) -> None:
        self._current = current
        self._kept: OrderedDict[str, ServedModel] = OrderedDict()
        if current is not None:
            self._kept[current.version] = current

    @property
    def current(self) -> ServedModel | None:
        """The one in service."""
        return self._current

    def of(self, version: str | None = None, dataset: str | None = None) -> ServedModel:
        """Find the one in service, or a version by its name: a list's next page comes from the model of its first.

        Raises:
            NotReadyError: if none is in service.
            UnknownModelError: if the version is not in memory.
            ConflictError: if it is of another data set than the one given.
        """
        chosen = self._chosen(version)
        if dataset is not None and dataset != chosen.recommender.dataset.name:
            raise ConflictError(
                f"model {chosen.version} answers for the data set {chosen.recommender.dataset.name!r}, not for "
                f"{dataset!r}: activate a model of {dataset!r} with POST /models/VERSION/activate (GET /models lists "
                "them), or leave `dataset` out"
            )
        return chosen

    def _chosen(self, version: str | None) -> ServedModel:
        current = self._current
        if current is None:
            raise NotReadyError(f"no model is in service yet: {self.awaited}")
        if version is None or version == current.version:
            return current
        if (kept := self._kept.get(version)) is not None:
            return kept
        raise UnknownModelError(
            f"model {version!r} is not in memory (there are: {', '.join(self._kept)}); leave `model` out for the one "
            "in service, or activate it"
        )

    def in_memory(self, version: str) -> ServedModel | None:
        """Find a version in its newest state, if it is in memory."""
        return self._kept.get(version)

    def all(self) -> tuple[ServedModel, ...]:
        """List those in memory."""
        return tuple(self._kept.values())

    def swap(self, model: ServedModel) -> None:
        """Put a model into service. A caller that took the reference before goes on with that model."""
        kept = OrderedDict(self._kept)
        kept[model.version] = model
        kept.move_to_end(model.version)
        while len(kept) > KEPT:
            kept.popitem(last=False)
        self._kept = kept
        self._current = model

    def replace(self, model: ServedModel) -> None:
        """Take another state of a version that is in memory."""
        kept = OrderedDict(self._kept)
        assert model.version in kept, "only what is there is replaced"
        kept[model.version] = model
        self._kept = kept
        if self._current is not None and self._current.version == model.version:
            self._current = model
