"""Experiments of the command line, `fedmem ablate` and `fedmem tune`, in the shape in which they cross HTTP."""

import datetime
from typing import Literal

from pydantic import Field

from fedmem.contracts.contract import Contract

ExperimentKind = Literal["ablation", "tuning"]
ExperimentState = Literal["finished", "unfinished", "damaged"]
Value = bool | int | float | str | None


_MEASURED = {"NDCG@10": {"mean": 0.126, "standard_error": 0.008, "lowest": 0.119, "highest": 0.129}}


class Measured(Contract):
    """A metric over users and, where there are several, over seeds."""

    mean: float = Field(description="Mean over users and seeds.", examples=[0.126])
    standard_error: float | None = Field(
        description="Over users, mean over seeds; null where it is not known.", examples=[0.008]
    )
    lowest: float = Field(description="The lowest of the seeds' means.", examples=[0.119])
    highest: float = Field(description="The highest of the seeds' means.", examples=[0.129])


class MeasuredModel(Contract):
    """A row of an ablation's table: a baseline, or a rung with all its seeds."""

    name: str = Field(examples=["FedMem-Full"])
    baseline: bool = Field(description="Whether it is no model of the method, but what each has to beat.")
    validation: dict[str, Measured] = Field(description="By metric.", examples=[_MEASURED])
    test: dict[str, Measured] = Field(description="By metric.", examples=[_MEASURED])
    best_rounds: tuple[int, ...] = Field(description="Of each seed the round of the best model.", examples=[[320]])
    last_rounds: tuple[int, ...] = Field(description="Of each seed the last round.", examples=[[400]])
    minutes: float | None = Field(description="Training time, mean over seeds.", examples=[2.4])
    bytes_down: float | None = Field(description="To a client in a round, on average.", examples=[747700.0])
    bytes_up: float | None = Field(description="From a client in a round, on average.", examples=[747700.0])
    lists: dict[str, float] = Field(
        description="What lists of ten are like on test, by measure, mean over seeds.", examples=[{"coverage": 0.4}]
    )


class ModelDifference(Contract):
    """One model minus another on the same test users and seeds, by a paired bootstrap."""

    model: str = Field(examples=["FedMem-Full"])
    other: str = Field(examples=["item-item counts"])
    metric: str = Field(examples=["NDCG@10"])
    mean: float = Field(examples=[0.0112])
    low: float = Field(description="The 95 % interval's lower end.", examples=[0.0031])
    high: float = Field(description="The 95 % interval's upper end.", examples=[0.0194])
    p: float = Field(description="Two-sided, of no difference.", examples=[0.008])


class NewUserRow(Contract):
    """A model on users who never trained."""

    name: str = Field(examples=["FedMem-Full"])
    by_interactions: dict[str, dict[str, Measured]] = Field(
        description="Test metrics by how many of a user's most recent interactions were given.",
        examples=[{"3": _MEASURED}],
    )


class NewItemRow(Contract):
    """A model, or what it has to beat, on items that it was not trained with, ranked among themselves."""

    name: str = Field(examples=["FedMem-Full"])
    metrics: dict[str, Measured] = Field(description="By metric, over the users who took some.", examples=[_MEASURED])


class Ablation(Contract):
    """What `fedmem ablate` found."""

    users: int = Field(description="Users who were evaluated.", examples=[943])
    seeds: tuple[int, ...] = Field(examples=[[42, 43, 44]])
    models: tuple[MeasuredModel, ...] = Field(description="Baselines first, then the rungs in the ladder's order.")
    new_users: tuple[NewUserRow, ...] = Field(description="Empty where no users were kept out of training.")
    new_items: tuple[NewItemRow, ...] = Field(description="Empty where no items were held out.")
    differences: tuple[ModelDifference, ...]


class TuningTrial(Contract):
    """A configuration that `fedmem tune` has tried."""

    number: int = Field(examples=[3])
    state: Literal["complete", "pruned", "failed"]
    value: float | None = Field(description="Its best validation.", examples=[0.131])
    params: dict[str, Value] = Field(
        description="The values it has tried, by setting.", examples=[{"model.sasrec_dropout": 0.2}]
    )
    reason: str | None = Field(description="Why it failed.", examples=[None])


class Tuning(Contract):
    """What `fedmem tune` has found so far; test is never looked at."""

    metric: str = Field(description="By which trials are compared, on validation.", examples=["NDCG@10"])
    planned: int | None = Field(description="Trials that the search was last asked for.", examples=[20])
    trials: tuple[TuningTrial, ...] = Field(description="Those that are through, in order.")
    best: int | None = Field(description="The number of the best one that went to its end.", examples=[3])
    importance: dict[str, float] = Field(
        description="How much of the values' variance each setting makes, adding up to 1; empty where too few trials "
        "went to their end.",
        examples=[{"federated.server_learning_rate": 0.8, "model.sasrec_dropout": 0.2}],
    )
    baselines: dict[str, float] = Field(
        description="The same metric of what each has to beat, on the same validation items.",
        examples=[{"popularity": 0.034}],
    )
    seconds: float = Field(description="Of all trials together.", examples=[3600.0])


class ExperimentSummary(Contract):
    """An experiment in the installation's folder."""

    name: str = Field(description="That of its folder.", examples=["ladder"])
    kind: ExperimentKind | None = Field(description="null where it cannot be told.", examples=["ablation"])
    state: ExperimentState = Field(description="Whether all that it was asked for is there.")
    note: str | None = Field(description="One sentence on what is missing or damaged.", examples=[None])
    dataset: str | None = Field(description="The data set's name.", examples=["ml-100k"])
    digest: str | None = Field(description="The data set's SHA-256.", examples=["82ef09faa534"])
    made_on: datetime.date | None = Field(
        description="The day of the table or, of a search, of its last trial.", examples=["2026-11-27"]
    )
    commit: str | None = Field(description="The source that made it, where it is known.", examples=["c494517"])
    configurations: int | None = Field(description="How many different ones were trained.", examples=[6])


class Experiment(ExperimentSummary):
    """An experiment, and what it holds."""

    ablation: Ablation | None = None
    tuning: Tuning | None = None


class ExperimentPage(Contract):
    """Experiments, the one that changed last first."""

    experiments: tuple[ExperimentSummary, ...]
    left_out: int = Field(description="How many older ones there are.", examples=[0])
