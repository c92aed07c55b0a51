"""The global abstract memory as it crosses HTTP. Clients' own memories never do."""

from pydantic import Field

from fedmem.contracts.contract import Contract


class NearestItem(Contract):
    """An item near a prototype."""

    item_id: str
    title: str
    similarity: float = Field(description="Cosine in the space that the prototypes are clustered in.")


class MapPoint(Contract):
    """A place on the job's 2-D map, the principal components of the catalogue in the clustering space."""

    x: float
    y: float


class Prototype(Contract):
    """One cluster centre of what the clients remember."""

    index: int
    mass: float = Field(description="Its share of all mass, 0 to 1.")
    drift: float | None = Field(description="Distance moved since the evaluated round before, 1 - cosine.")
    point: MapPoint
    nearest: tuple[NearestItem, ...]


class PrototypeRound(Contract):
    """The prototypes after one evaluated round."""

    job_id: int
    round: int
    collapse: float | None = Field(description="Mean off-diagonal cosine; near 1, the prototypes are one.")
    prototypes: tuple[Prototype, ...]
    rounds: tuple[int, ...] = Field(description="The rounds of this job whose prototypes are kept.")


class ItemPoint(Contract):
    """An item on the same map."""

    item_id: str
    title: str
    point: MapPoint


class ItemMap(Contract):
    """A job's catalogue on the map of its prototypes."""

    job_id: int
    items: tuple[ItemPoint, ...]
