"""What a first model of another data set changes for requests that name no data set."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy import Engine


def what_becomes_of_them(engine: "Engine", dataset: str) -> str:
    """Say that requests without a data set will be refused once ``dataset`` has a model in service, if that is so.

    Empty where it changes nothing: the data set has a model already, or is the only one to get one, or FEDMEM_DATASET
    says which one is meant.
    """
    from backend.settings import Settings
    from fedmem.storage.models import ModelStore

    there = sorted(row.dataset for row in ModelStore(engine).all_active())
    if not there or dataset in there or Settings.load().dataset is not None:
        return ""
    return (
        f"once {dataset} has a model in service beside {', '.join(there)}, requests that name no data set are refused "
        "by 409: set FEDMEM_DATASET to the one that is meant then, or have callers name theirs by ?dataset="
    )
