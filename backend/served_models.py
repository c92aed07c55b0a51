"""Which models answer: one for each data set, as many of them in memory as may be, and a few that answered before."""

import itertools
from collections.abc import Iterable, Mapping

from backend.errors import NoModelError, NotReadyError
from backend.served_model import ServedModel
from fedmem.contracts.ab_tests import Arm
from fedmem.errors import ConflictError, UnknownModelError
from fedmem.storage.ab_rows import AbTestRow

KEPT = 3  # versions of a data set: the next pages of lists come from those that answered before
IN_MEMORY = 8


class UnloadedError(Exception):
    """The model to answer with is not in memory, and must be brought there first.

    ``test`` is the A/B test whose treatment it is; None: it is the one in service.
    """

    def __init__(self, dataset: str, test: AbTestRow | None = None) -> None:
        super().__init__(f"the model of the data set {dataset!r} is not in memory")
        self.dataset = dataset
        self.test = test


class ServedModels:
    """The models in service. Readers take one reference and use it throughout; nothing here waits.

    One thread at a time may change what is here; any may read meanwhile.

    Args:
        default: the data set that is meant where none is named; None: the only one that there is.
        most: how many models may be in memory.

    Attributes:
        hint: as long as there is none, what will bring one, in a sentence.
    """

    hint = "queue a training job with POST /jobs and let it finish"

    def __init__(self, default: str | None = None, most: int = IN_MEMORY) -> None:
        self._default, self._most = default, most
        self._in_service: Mapping[str, str] = {}  # the version that answers, by data set, in memory or not
        self._withdrawn: Mapping[str, str] = {}  # why none answers, by data set, where one should
        self._models: Mapping[str, ServedModel] = {}  # in memory, by version
        self._tests: Mapping[str, AbTestRow] = {}  # A/B tests that run, by data set
        self._asked: dict[str, int] = {}  # by version, when it was asked last
        self._clock = itertools.count()
        self.unnamed = default

    @classmethod
    def of_run(cls, model: ServedModel) -> "ServedModels":
        """Serve one model alone."""
        served = cls()
        served.swap(model)
        return served

    def of(self, version: str | None = None, dataset: str | None = None, user_id: str | None = None) -> ServedModel:
        """Find the one in service of a data set, or a version by its name.

        A list's next page comes from the model of its first. Where neither is named the default data set is meant.
        While the data set is A/B-tested, users of the treatment are answered by that.

        Raises:
            UnloadedError: if it is in service and not in memory.
            NotReadyError: if none is in service.
            UnknownModelError: if the version is not in memory.
            NoModelError: if the data set has none.
            ConflictError: if it is of another data set than the one given, or there are several and none is named.
        """
        self._require_any(dataset)
        model = self._in_service_of(dataset, user_id) if version is None else self._named(version, dataset)
        self._asked[model.version] = next(self._clock)
        return model

    def version_of(self, dataset: str | None = None) -> str:
        """Name the version in service of a data set, in memory or not; errors are those of ``of``."""
        self._require_any(dataset)
        return self._in_service[self._served_data_set(dataset)]

    def _require_any(self, dataset: str | None) -> None:
        """Raise where no data set has a model; of one that is named it is said whether it is there."""
        if not self._in_service:
            if dataset is not None:
                self._served_data_set(dataset)
            raise NotReadyError(f"no model is in service yet: {self.hint}")

    def dataset_of(self, asked: str | None) -> str:
        """Name the data set that is meant, whether it has a model or not.

        Raises:
            ConflictError: if none is named and several have a model in service.
        """
        name = self.unnamed if asked is None else asked
        if name is None:
            raise ConflictError(
                f"several data sets have a model in service ({self._there()}): name one with ?dataset=, or set "
                "FEDMEM_DATASET to the one that is meant where none is named"
            )
        return name

    def to_name(self, dataset: str) -> str | None:
        """Return the data set as a path must name it: None where it is meant anyway."""
        return None if dataset == self.unnamed else dataset

    def _in_service_of(self, dataset: str | None, user_id: str | None) -> ServedModel:
        name = self.unnamed if dataset is None else dataset
        test = None if user_id is None or name is None or name not in self._in_service else self._tests.get(name)
        if test is None or user_id is None or test.arm_of(user_id) == "control":
            model, test = self.loaded(name), None
        else:
            model = self._models.get(test.treatment)
        if model is None:
            raise UnloadedError(self._served_data_set(dataset), test)
        return model

    def _served_data_set(self, dataset: str | None) -> str:
        name = self.dataset_of(dataset)
        if name in self._withdrawn:
            raise NotReadyError(f"no model of the data set {name!r} can be served: {self._withdrawn[name]}")
        if name not in self._in_service:
            raise NoModelError(
                name,
                f"no model of a data set {name!r} is in service"
                + (", which FEDMEM_DATASET names" if dataset is None else "")
                + (f" (there are models of {self._there()})" if self._in_service else ""),
            )
        return name

    def _there(self) -> str:
        return ", ".join(sorted(self._in_service))

    def _named(self, version: str, dataset: str | None) -> ServedModel:
        model = self._models.get(version)
        if model is None:
            for name, in_service in self._in_service.items():
                if in_service == version:
                    raise UnloadedError(name)
            for name, test in self._tests.items():
                if test.treatment == version:
                    raise UnloadedError(name, test)
            raise UnknownModelError(
                f"model {version!r} is not in memory (there are: {', '.join(self._models)}); leave `model` out for the "
                "one in service, or activate it"
            )
        if dataset is not None and dataset != model.dataset:
            raise ConflictError(
                f"model {version} answers for the data set {model.dataset!r}, not for {dataset!r}: leave `model` or "
                "`dataset` out"
            )
        return model

    @property
    def trouble(self) -> str:
        """Say that requests must name their data set, where they must; else nothing."""
        if self.unnamed is not None or not self._in_service:
            return ""
        return (
            f"several data sets have models ({self._there()}), and requests that name none with ?dataset= are refused: "
            "set FEDMEM_DATASET to the one that is meant then"
        )

    @property
    def known(self) -> frozenset[str]:
        """The data sets that have a model in service, or should have one."""
        return frozenset({*self._in_service, *self._withdrawn})

    @property
    def in_service(self) -> Mapping[str, str]:
        """The versions in service, in memory or not, by data set."""
        return self._in_service

    def loaded(self, dataset: str | None) -> ServedModel | None:
        """Find the model in service of a data set, if it is in memory."""
        version = None if dataset is None else self._in_service.get(dataset)
        return None if version is None else self._models.get(version)

    def in_memory(self, version: str) -> ServedModel | None:
        """Find a version in its newest state, if it is in memory."""
        return self._models.get(version)

    def all(self, dataset: str | None = None) -> tuple[ServedModel, ...]:
        """List those in memory, of one data set or of all."""
        return tuple(model for model in self._models.values() if dataset in (None, model.dataset))

    @property
    def tests(self) -> Mapping[str, AbTestRow]:
        """The A/B tests that run, by data set."""
        return self._tests

    def test(self, tests: Iterable[AbTestRow]) -> None:
        """Let these A/B tests, and no others, split their data sets' users."""
        self._tests = {test.dataset: test for test in tests}

    def arm_of(self, model: ServedModel, user_id: str) -> tuple[int, Arm] | None:
        """Say of which A/B test and arm a model's answer to a user is, None where it is of none."""
        test = self._tests.get(model.dataset)
        if test is None or test.version_for(user_id) != model.version:
            return None
        return test.id, test.arm_of(user_id)

    @property
    def room(self) -> bool:
        """Whether one more data set's model may be in memory without another's going."""
        return sum(self.loaded(dataset) is not None for dataset in self._in_service) < self._most

    @property
    def holds_two(self) -> bool:
        """Whether both models of an A/B test can be in memory; else each would be loaded for every other answer."""
        return self._most > 1

    def expect(self, versions: Mapping[str, str]) -> None:
        """Take the versions to serve, by data set; where a model is in memory, it goes on until another is there."""
        expected = {name: version for name, version in versions.items() if self.loaded(name) is None}
        self._set_in_service({**self._in_service, **expected})

    def withdraw(self, dataset: str, reason: str) -> None:
        """Let no model answer for a data set, because none of its can."""
        self._withdrawn = {**self._withdrawn, dataset: reason}
        self._set_in_service({name: version for name, version in self._in_service.items() if name != dataset})

    def forget(self, dataset: str) -> None:
        """Let no model answer for a data set that was removed."""
        self._models = {version: model for version, model in self._models.items() if model.dataset != dataset}
        self._withdrawn = {name: why for name, why in self._withdrawn.items() if name != dataset}
        self._set_in_service({name: version for name, version in self._in_service.items() if name != dataset})

    def swap(self, model: ServedModel) -> list[ServedModel]:
        """Put a model into service, and return those that had to leave memory for it.

        A caller that took a reference before goes on with that model.
        """
        in_service = {**self._in_service, model.dataset: model.version}
        gone = self._take(model, in_service)
        self._set_in_service(in_service)
        return gone

    def hold(self, model: ServedModel) -> list[ServedModel]:
        """Keep a model in memory that is not in service; return those that had to leave for it."""
        return self._take(model, self._in_service)

    def _take(self, model: ServedModel, in_service: Mapping[str, str]) -> list[ServedModel]:
        self._asked[model.version] = next(self._clock)
        models = {**self._models, model.version: model}
        gone = [models.pop(version) for version in self._leaving(models, in_service, model)]
        self._models = models
        for each in gone:
            self._asked.pop(each.version, None)
        return gone

    def replace(self, model: ServedModel) -> None:
        """Take another state of a version that is in memory."""
        assert model.version in self._models, "only what is there is replaced"
        self._models = {**self._models, model.version: model}

    def _leaving(
        self, models: Mapping[str, ServedModel], in_service: Mapping[str, str], newest: ServedModel
    ) -> list[str]:
        """Choose who leaves: those asked least recently, and of them first those that are not in service any more."""
        serving = {*in_service.values(), *(test.treatment for test in self._tests.values())}
        others = sorted(models.keys() - {newest.version}, key=lambda name: (name in serving, self._asked.get(name, 0)))
        kin = [name for name in others if models[name].dataset == newest.dataset]
        leaving = kin[: max(len(kin) + 1 - KEPT, 0)]
        others = [name for name in others if name not in leaving]
        return leaving + others[: max(len(others) + 1 - self._most, 0)]

    def _set_in_service(self, in_service: Mapping[str, str]) -> None:
        self._withdrawn = {name: why for name, why in self._withdrawn.items() if name not in in_service}
        self._in_service = in_service
        # One that cannot be served is meant all the same: another's users would be answered in its place.
        names = [*in_service, *self._withdrawn]
        self.unnamed = self._default or (names[0] if len(names) == 1 else None)
