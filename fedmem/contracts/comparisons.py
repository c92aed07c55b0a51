"""Runs side by side as they cross HTTP."""

from typing import Any

from pydantic import Field

from fedmem.contracts.contract import Contract


class Difference(Contract):
    """A setting in which the jobs differ; or `snapshot`, the digest of their data; or `start_from`."""

    name: str = Field(description="Its dotted name.", examples=["federated.num_rounds"])
    values: tuple[Any, ...] = Field(description="What each job has, in their order.", examples=[[150, 200]])


class JobComparison(Contract):
    """Jobs whose figures compare."""

    jobs: tuple[int, ...] = Field(description="Their numbers, as they were asked for.", examples=[[7, 8]])
    dataset: str = Field(description="What all of them were trained on.", examples=["demo"])
    metrics: tuple[str, ...] = Field(
        description="The ranking metrics that all of them measure.", examples=[["HR@10", "NDCG@10"]]
    )
    test: dict[str, tuple[float | None, ...]] = Field(
        description="What each job's model reaches on test, by metric; null where it was not tested.",
        examples=[{"HR@10": [0.295, None]}],
    )
    differences: tuple[Difference, ...] = Field(description="What sets them apart; nothing where they are the same.")
    note: str | None = Field(
        description="What a reader of their figures must know, in a sentence: that their snapshots differ.",
        examples=[None],
    )
