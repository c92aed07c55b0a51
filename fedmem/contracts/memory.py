"""The global abstract memory as it crosses HTTP. Clients' own memories never do."""

from pydantic import Field

from fedmem.contracts.contract import Contract
from fedmem.contracts.recommendations import ItemId

SHARE = "share_"  # before the part's name it is the name of a test metric


class NearestItem(Contract):
    """An item near a prototype."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["The Princess Bride"])
    similarity: float = Field(description="Cosine in the space that the prototypes are clustered in.", examples=[0.71])


class MapPoint(Contract):
    """A place on the job's 2-D map, the principal components of the catalogue in the clustering space."""

    x: float = Field(description="Along the first component.", examples=[0.42])
    y: float = Field(description="Along the second component.", examples=[-0.17])


class Prototype(Contract):
    """One cluster centre of what the clients remember."""

    index: int = Field(description="The same in all rounds of a job.", examples=[0])
    mass: float = Field(description="Its share of all mass, 0 to 1.", examples=[0.13])
    drift: float | None = Field(
        description="Distance moved since the evaluated round before, 1 - cosine.", examples=[0.004]
    )
    point: MapPoint
    nearest: tuple[NearestItem, ...]


class PrototypeRound(Contract):
    """The prototypes after one evaluated round."""

    job_id: int = Field(description="The job's number.", examples=[7])
    round: int = Field(description="The evaluated round.", examples=[120])
    collapse: float | None = Field(
        description="Mean off-diagonal cosine; near 1, the prototypes are one.", examples=[0.21]
    )
    prototypes: tuple[Prototype, ...]
    rounds: tuple[int, ...] = Field(
        description="The rounds of this job whose prototypes are kept.", examples=[[110, 120]]
    )


class ItemPoint(Contract):
    """An item on the same map."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["The Princess Bride"])
    point: MapPoint


class ItemMap(Contract):
    """A job's catalogue on the map of its prototypes."""

    job_id: int = Field(description="The job's number.", examples=[7])
    items: tuple[ItemPoint, ...]


class Follower(Contract):
    """An item that others took after another."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["Ladyhawke"])
    weight: float = Field(
        description="How often it followed, near counting more, over powers of how often both were taken.",
        examples=[1.4],
    )


class TransitionRow(Contract):
    """What followed one item in the clients' histories."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["The Princess Bride"])
    taken: int = Field(description="How many interactions with it are counted, 5 or more.", examples=[120])
    weight: float = Field(description="The weights of its whole row together.", examples=[31.5])
    followers: tuple[Follower, ...] = Field(description="The greatest weights first.")


class TransitionRows(Contract):
    """Rows of the transition memory that a model answers by, a sum over all users known by now.

    It holds what the model was trained with, what was held out to validate and test it, and what came since.
    """

    model_version: str = Field(description="The model that reads them.", examples=["job-7-round-120"])
    dataset: str = Field(description="The data set that this model was trained on.", examples=["demo"])
    round: int = Field(description="The training round of the model.", examples=[120])
    strength: float = Field(
        description="The weight of the transition memory in scores; after short histories there may be another.",
        examples=[0.3],
    )
    interactions: int = Field(description="How many interactions are counted by now.", examples=[2500])
    rows: tuple[TransitionRow, ...] = Field(description="Those that weigh most first.")


class GrowingFollower(Contract):
    """An entry of a row as it grew."""

    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["Ladyhawke"])
    counts: tuple[float, ...] = Field(
        description="How often it had followed by each of the rounds, near counting more: one over the distance.",
        examples=[[2.5, 9.0]],
    )


class RowGrowth(Contract):
    """How a row of a job's transition memory grew, in sums over the clients that had taken part by a round."""

    job_id: int = Field(description="The job's number.", examples=[7])
    item_id: ItemId
    title: str = Field(description="The title, or the id where no title is known.", examples=["The Princess Bride"])
    rounds: tuple[int, ...] = Field(
        description="The rounds that are shown: of those that validated, those before which enough was added.",
        examples=[[10, 20]],
    )
    taken: tuple[int, ...] = Field(
        description="How many interactions with the row's item were counted by each of them.", examples=[[14, 31]]
    )
    followers: tuple[GrowingFollower, ...] = Field(description="The greatest entries at the end first.")


class ScoreShares(Contract):
    """What the scores of a model are made of: the share of each part in what puts the ten best items ahead.

    Of each user the mean score of the ten best items is compared with that of all items that the user may be offered.
    The difference splits exactly into the parts of the score; a share is the mean over users. Shares add up to 1, and
    that of a part that ranks against the others is below 0.
    """

    job_id: int = Field(description="The job's number.", examples=[7])
    model_version: str = Field(description="The model that the job left.", examples=["job-7-round-120"])
    shares: dict[str, float] = Field(
        description="By part: the sequence model, each expert, which features an item has, the transitions remembered.",
        examples=[{"sequence": 0.81, "remembered": 0.19}],
    )
