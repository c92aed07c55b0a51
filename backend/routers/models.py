"""Model versions: which there are, which is in service, and putting another into service."""

from typing import Annotated

from fastapi import APIRouter, Path, Query

from backend.damaged_rows import shown
from backend.dependencies import WRITES, DatasetName, Keeper, Models, OnlyDataset, Served
from backend.openapi import problems
from backend.operation_rows import activation_of, model_of
from backend.query_route import KnownQueryRoute
from backend.rows import in_service_of
from fedmem.contracts import ModelHistory, ModelPage, ModelVersion
from fedmem.contracts.contract import PRINTABLE
from fedmem.storage.model_origin import equal_to_active
from fedmem.storage.models import ModelRow

router = APIRouter(tags=["models"], route_class=KnownQueryRoute)

VersionInPath = Annotated[
    str, Path(max_length=255, pattern=PRINTABLE, description="A version.", examples=["job-7-round-120"])
]


@router.get("/models", responses=problems(404, 503))
def list_models(
    models: Models,
    keeper: Keeper,
    served: Served,
    dataset: OnlyDataset,
    limit: Annotated[int, Query(ge=1, le=500, description="How many.")] = 100,
) -> ModelPage:
    """List the newest models, those to serve, and those that answer at this moment."""
    refusals = {version: refusal.reason for version, refusal in keeper.loader.refusals.items()}
    rows = models.page(limit, dataset)
    equal = equal_to_active(models.engine, rows, models.all_active())

    def told(row: ModelRow) -> ModelVersion:
        found = model_of(row, served.in_service, refusals.get(row.version))
        return found.model_copy(update={"equal": row.version in equal})

    return ModelPage(
        models=tuple(shown(told, rows)),
        serving=None if served.unnamed is None else served.in_service.get(served.unnamed),
        in_service=in_service_of(served),
    )


@router.get("/models/history", responses=problems(404, 503))
def list_activations(
    models: Models,
    dataset: OnlyDataset,
    limit: Annotated[int, Query(ge=1, le=500, description="How many.")] = 100,
) -> ModelHistory:
    """List what served when and why it did, the newest first."""
    return ModelHistory(activations=tuple(shown(activation_of, models.history(dataset, limit))))


@router.post("/models/rollback", dependencies=[WRITES], responses=problems(404, 409, 413, 503))
def roll_back(dataset: DatasetName, keeper: Keeper, served: Served) -> ModelVersion:
    """Serve again what served the data set before; once more, what served before that.

    What cannot be served, or did not serve before, is a 409, and the one in service stays.
    """
    return model_of(keeper.roll_back(dataset), served.in_service, None)


@router.post("/models/{version}/activate", dependencies=[WRITES], responses=problems(404, 409, 413, 503))
def activate_model(
    version: Annotated[
        str, Path(max_length=255, pattern=PRINTABLE, description="A version.", examples=["job-7-round-120"])
    ],
    keeper: Keeper,
    served: Served,
) -> ModelVersion:
    """Serve this version to its data set's users, an earlier one too; other data sets keep theirs.

    When the answer comes, it has been loaded, checked and swapped in. A version that cannot be served is a 409, and the
    one in service stays.
    """
    return model_of(keeper.activate(version, "asked for by HTTP"), served.in_service, None)
