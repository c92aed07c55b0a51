"""Experiments of the command line, as their commands have left them in the installation's folder."""

from typing import Annotated

from fastapi import APIRouter, Path

from backend.dependencies import CurrentSettings
from backend.openapi import problems
from backend.query_route import KnownQueryRoute
from fedmem.contracts import Experiment, ExperimentPage
from fedmem.contracts.contract import PRINTABLE
from fedmem.serving import list_experiments, read_experiment

router = APIRouter(tags=["experiments"], route_class=KnownQueryRoute)

ExperimentName = Annotated[
    str, Path(max_length=255, pattern=PRINTABLE, description="That of its folder.", examples=["ladder"])
]


@router.get("/experiments", responses=problems(503))
def get_experiments(settings: CurrentSettings) -> ExperimentPage:
    """List what `fedmem ablate --name NAME` and `fedmem tune --name NAME` have left, the newest first.

    One that is damaged or not finished says so in its note.
    """
    return list_experiments(settings.data_dir)


@router.get("/experiments/{name}", responses=problems(404, 503))
def get_experiment(name: ExperimentName, settings: CurrentSettings) -> Experiment:
    """Show an ablation's table with the intervals of the differences, or a search's trials. No user is named in it."""
    return read_experiment(settings.data_dir, name)
