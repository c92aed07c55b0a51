"""Loads models that are in service but not in memory, each once however many requests wait for it."""

from dataclasses import dataclass, field

import anyio
import anyio.to_thread

from backend.errors import NotReadyError
from backend.model_keeper import ModelKeeper
from backend.served_model import ServedModel
from backend.served_models import ServedModels, UnloadedError
from fedmem.errors import ConflictError


@dataclass(eq=False)
class ModelLookup:
    """Finds the model to answer with; used by the event loop alone.

    Attributes:
        served: those in memory.
        keeper: loads the others; None where there is no database, and nothing is ever unloaded.
    """

    served: ServedModels
    keeper: ModelKeeper | None = None
    _thread: anyio.CapacityLimiter = field(default_factory=lambda: anyio.CapacityLimiter(1))  # one is loaded at a time
    _under_way: dict[str | int, anyio.Event] = field(default_factory=dict)

    async def of(self, version: str | None, dataset: str | None, user_id: str | None = None) -> ServedModel:
        """Find a model as ``ServedModels.of`` does, and wait for one that must be loaded.

        Raises:
            NotReadyError: if it cannot be.
        """
        try:
            return self.served.of(version, dataset, user_id)
        except UnloadedError as unloaded:
            return await self._brought(unloaded)

    async def if_any(self, dataset: str) -> ServedModel | None:
        """Find the model in service of a data set; None if there is none."""
        try:
            return await self.of(None, dataset)
        except (ConflictError, NotReadyError):
            return None

    async def _brought(self, unloaded: UnloadedError) -> ServedModel:
        dataset, test = unloaded.dataset, unloaded.test
        key = dataset if test is None else test.id
        while (under_way := self._under_way.get(key)) is not None:
            await under_way.wait()
            model = self.served.loaded(dataset) if test is None else self.served.in_memory(test.treatment)
            if model is not None:
                return model
        assert self.keeper is not None, "without a database nothing is unloaded"
        loading = self._under_way[key] = anyio.Event()
        try:
            return await anyio.to_thread.run_sync(self.keeper.bring, dataset, test, limiter=self._thread)
        finally:
            del self._under_way[key]
            loading.set()
