"""What a run consists of as arrays and JSON objects, and back."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, Field, FiniteFloat, StringConstraints, ValidationError

from fedmem.checkpoint.atomic_files import Array
from fedmem.config import Repeats
from fedmem.data.federated_dataset import FederatedDataset
from fedmem.data.interactions import Item
from fedmem.data.vocabulary import Vocabulary
from fedmem.federated.server_optimizers import OptimizerState
from fedmem.federated.state import RoundReport, ServerState
from fedmem.memory.entries import MemoryEntries
from fedmem.memory.prototypes import Prototypes
from fedmem.memory.transitions import TransitionCounts

# A bound has pydantic look for lone surrogates, which JSON can hold and no file of ours does.
_Text = Annotated[str, StringConstraints(min_length=0)]
Kind = TypeVar("Kind", bound=BaseModel)
_Count = Annotated[int, Field(ge=0, lt=2**53)]


class _ItemRecord(BaseModel, strict=True, extra="forbid"):
    item_id: _Text
    title: _Text
    genres: list[_Text]
    year: int | None
    image_path: _Text | None
    text: _Text
    tags: list[_Text] = Field(default_factory=list)  # where there are any; a plain default would be copied deeply


class _DatasetRecord(BaseModel, strict=True):
    name: _Text
    digest: _Text
    min_sequence_length: Annotated[int, Field(ge=3)]
    repeats: Repeats = "hide"  # runs of an older version say neither
    max_history: Annotated[int, Field(ge=1)] | None = None
    users: list[_Text]
    items: list[Any]  # one by one, so that other threads have a turn in between


_Length = Annotated[str, Field(pattern=r"^[1-9][0-9]*$")]  # a number, as JSON has no other keys than texts


class StoredServer(BaseModel, strict=True):
    """What ``server.json`` holds of the server's state, and how many files of memories there are."""

    round: _Count
    best_round: _Count
    best_metric: FiniteFloat
    stale: _Count
    strength: FiniteFloat | None = None  # runs of a version that chose by HR@10 have none
    short_strengths: dict[_Length, FiniteFloat] = Field(default_factory=dict)
    step: _Count
    memory_files: _Count

    @classmethod
    def of(cls, record: Mapping[str, Any]) -> "StoredServer":
        """Check the types; raise ValueError saying what is not of its own."""
        return _checked(cls, record)


def report_line(report: RoundReport) -> dict[str, Any]:
    """Return a round as one JSON object, without timings, so that the same run writes the same bytes."""
    line: dict[str, Any] = {"round": report.round, "metrics": dict(report.metrics)}
    if report.validation is not None:
        line["validation"] = report.validation.to_dict()["metrics"]
        if report.without_transitions is not None:
            line["without_transitions"] = report.without_transitions.to_dict()["metrics"]
        line["is_best"] = report.is_best
    return line


def server_arrays(state: ServerState) -> dict[str, Array]:
    """Return the server's arrays, named group/name."""
    memory = state.global_memory
    groups: dict[str, Mapping[str, Array]] = {
        "parameters": state.parameters,
        "averaged": state.averaged,
        "first": state.optimizer.first,
        "second": state.optimizer.second,
    }
    if state.released is not None:
        groups["released"] = state.released.to_arrays()
    prototypes = {} if memory is None else memory.to_arrays()
    named = {f"{group}/{name}": value for group, values in groups.items() for name, value in values.items()}
    return named | {f"prototype_{name}": value for name, value in prototypes.items()}


def server_record(state: ServerState) -> dict[str, Any]:
    """Return the part of the server's state that is not arrays."""
    names = ("round", "best_round", "best_metric", "stale", "strength")
    record = {name: getattr(state, name) for name in names} | {"step": state.optimizer.step}
    short = {str(length): strength for length, strength in state.short_strengths.items()}
    return record | ({"short_strengths": short} if short else {})


def server_state(
    arrays: Mapping[str, Array], record: Mapping[str, Any], transitions: TransitionCounts | None = None
) -> ServerState:
    """Restore the state from ``server_arrays``, ``server_record`` and the transition memory, which is stored apart."""

    def group(name: str) -> dict[str, Array]:
        return {key.removeprefix(f"{name}/"): value for key, value in arrays.items() if key.startswith(f"{name}/")}

    prototypes = {n.removeprefix("prototype_"): a for n, a in arrays.items() if n.startswith("prototype_")}
    stored = StoredServer.of(record)
    released = group("released")
    return ServerState(
        round=stored.round,
        parameters=group("parameters"),
        averaged=group("averaged"),
        optimizer=OptimizerState(group("first"), group("second"), stored.step),
        global_memory=Prototypes.from_arrays(prototypes) if prototypes else None,
        transitions=transitions,
        released=TransitionCounts.from_arrays(released) if released else None,
        strength=stored.strength or 0.0,
        short_strengths={int(length): strength for length, strength in stored.short_strengths.items()},
        best_round=stored.best_round,
        # NDCG@10 would hardly ever exceed the HR@10 of an older version.
        best_metric=-1.0 if stored.strength is None else stored.best_metric,
        stale=stored.stale,
    )


def memory_arrays(memories: Mapping[int, MemoryEntries]) -> dict[str, Array]:
    """Join one or more memories end to end, with each user's number of entries."""
    users = sorted(memories)
    names = vars(memories[users[0]])
    joined = {name: np.concatenate([getattr(memories[user], name) for user in users]) for name in names}
    return joined | {"users": np.array(users), "lengths": np.array([len(memories[user]) for user in users])}


def memories_of(arrays: Mapping[str, Array]) -> dict[int, MemoryEntries]:
    """Split what ``memory_arrays`` joined."""
    users, lengths = arrays["users"], arrays["lengths"]
    columns = {name: values for name, values in arrays.items() if name not in ("users", "lengths")}
    if (lengths < 0).any() or {len(values) for values in columns.values()} != {int(lengths.sum())}:
        raise ValueError("the memories' lengths are not those of their entries")
    ends = np.cumsum(lengths)
    return {
        int(user): MemoryEntries(**{name: values[end - n : end] for name, values in columns.items()})
        for user, n, end in zip(users, lengths, ends, strict=True)
    }


def dataset_arrays(dataset: FederatedDataset) -> dict[str, Array]:
    """Return the sequences."""
    return {"offsets": dataset.offsets, "sequence": dataset.sequence, "cold_users": dataset.cold_users}


def dataset_record(dataset: FederatedDataset) -> dict[str, Any]:
    """Return the vocabulary and the catalogue."""
    return {
        "name": dataset.name,
        "digest": dataset.digest,
        "min_sequence_length": dataset.min_sequence_length,
        "repeats": dataset.repeats,
        "max_history": dataset.max_history,
        "users": dataset.vocabulary.users,
        "items": [_item_record(item) for item in dataset.items],
    }


def _item_record(item: Item) -> dict[str, Any]:
    record = {field.name: getattr(item, field.name) for field in fields(item) if field.compare}
    if not item.tags:
        del record["tags"]
    return record | {"image_path": None if item.image_path is None else str(item.image_path)}


def _item(record: _ItemRecord) -> Item:
    image = None if record.image_path is None else Path(record.image_path)
    return Item(
        record.item_id, record.title, tuple(record.genres), record.year, image, record.text, tags=tuple(record.tags)
    )


def dataset_of(record: Mapping[str, Any], arrays: Mapping[str, Array]) -> FederatedDataset:
    """Restore the data set from ``dataset_record`` and ``dataset_arrays``.

    Raises:
        ValueError: saying what in the record is not of its type.
    """
    told = _checked(_DatasetRecord, record)
    items = tuple(_item(_checked(_ItemRecord, item, f"items.{n}.")) for n, item in enumerate(told.items))
    return FederatedDataset(
        vocabulary=Vocabulary(tuple(told.users), tuple(item.item_id for item in items)),
        items=items,
        min_sequence_length=told.min_sequence_length,
        repeats=told.repeats,
        max_history=told.max_history,
        name=told.name,
        digest=told.digest,
        offsets=arrays["offsets"],
        sequence=arrays["sequence"],
        cold_users=arrays["cold_users"],
    )


def _checked(kind: type[Kind], record: Mapping[str, Any], where: str = "") -> Kind:
    """Check the types, for what is wrong here would show much later: where it is trained on, or written again."""
    try:
        return kind.model_validate(record)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False, include_context=False)[0]
        raise ValueError(f"{where}{'.'.join(map(str, first['loc']))}: {first['msg']}") from None
