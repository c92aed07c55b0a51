"""Files that are uploaded, what would be read of them, and what an import of them has done."""

from typing import Annotated, Literal

from pydantic import Field, FiniteFloat

from fedmem.config import Repeats
from fedmem.contracts.contract import PRINTABLE, Body, Contract, Time

Option = str | bool | int | FiniteFloat | None
UploadState = Literal["uploaded", "reading", "previewed", "writing", "imported", "failed"]
UNDER_WAY: tuple[UploadState, ...] = ("reading", "writing")
UploadId = Annotated[
    str,
    Field(pattern=r"^[0-9a-f]{32}$", description="The upload's id.", examples=["6f2c1b0e9d8a47c3b5f0e1d2c3b4a596"]),
]
Text = Annotated[str, Field(max_length=200, pattern=PRINTABLE)]


class ReadUpload(Body):
    """What ``POST /uploads/{id}/preview`` takes: how the file of interactions is to be read, and with which items."""

    items: UploadId | None = Field(None, description="The upload that describes the items, or null.")
    options: dict[Text, Option] = Field(
        {},
        max_length=50,
        description="How the files are read: the options of `fedmem data import`, with `_` for `-`. docs/guide/data.md "
        "lists them.",
        examples=[{"timestamp_column": "ordered_at", "positive_rating": 4}],
    )


class ImportUpload(ReadUpload):
    """What ``POST /uploads/{id}/import`` takes besides: into which data set."""

    dataset: str = Field(
        min_length=1, max_length=255, pattern=PRINTABLE, description="Made if it is not there.", examples=["shop"]
    )
    repeats: Repeats | None = Field(
        None,
        description="Whether jobs on it offer users again what they have taken; null leaves it as it was.",
        examples=["offer"],
    )
    overwrite_edits: bool = Field(False, description="Whether the file's word counts for items edited by hand, too.")


class SomeItems(Contract):
    """Items of a kind: how many there are, and the first of them."""

    count: int = Field(0, examples=[2])
    first: tuple[str, ...] = Field((), description="Ids, five at most.", examples=[["1197", "sku-0001197"]])


class PreviewRow(Contract):
    """An interaction as it would be stored."""

    user_id: str = Field(examples=["u001"])
    item_id: str = Field(examples=["1197"])
    title: str = Field(description="The item's title, or its id.", examples=["The Princess Bride"])
    timestamp: float = Field(description="Seconds since 1970, or steps of the file's own.", examples=[978300019])


class PreviewItem(Contract):
    """An item as it would be stored."""

    item_id: str = Field(examples=["1197"])
    title: str = Field(examples=["The Princess Bride"])
    genres: tuple[str, ...] = Field(examples=[["Comedy", "Romance"]])
    year: int | None = Field(examples=[1987])
    text: str = Field(description="The beginning of what the text encoder reads.", examples=["The Princess Bride .."])


class Preview(Contract):
    """What would be read of the files; nothing is stored yet."""

    format: str = Field(description="Of the file of interactions.", examples=["csv"])
    users: int = Field(examples=[943])
    items: int = Field(description="Those in the interactions, and the others that are described.", examples=[1682])
    described: int = Field(description="Items of which more than the id is known.", examples=[1682])
    interactions: int = Field(examples=[100000])
    numbered: bool = Field(description="Whether the order of the rows is the time, for want of a column.")
    left_out: dict[str, int] = Field(description="Rows that are left out, by reason.", examples=[{"rating below 4": 5}])
    repeated_targets: float = Field(
        description="The share of the users whose last item is one that they took before.", examples=[0.02]
    )
    without_title: SomeItems = Field(
        SomeItems(), description="Items of the interactions that these files give no title; a data set may know one."
    )
    without_interactions: SomeItems = Field(
        SomeItems(), description="Items of the items file that are in none of these interactions."
    )
    first: tuple[PreviewRow, ...] = Field(description="The first interactions.")
    first_items: tuple[PreviewItem, ...] = Field(description="The first described items.")


class ImportOutcome(Contract):
    """What an import has done; what the files do not name stays as it was."""

    dataset: str = Field(examples=["shop"])
    new_interactions: int = Field(examples=[100000])
    known_interactions: int = Field(description="They were there already.", examples=[0])
    new_items: int = Field(examples=[1682])
    changed_items: int = Field(examples=[0])
    kept_items: int = Field(description="As they were.", examples=[0])
    edits_kept: int = Field(description="Of these, edited by hand and otherwise in the file.", examples=[0])
    left_out: dict[str, int] = Field(description="Rows that were left out, by reason.", examples=[{"bad time": 2}])
    without_title: SomeItems = Field(
        SomeItems(), description="Items of the imported interactions that the data set knows no title of."
    )
    without_interactions: SomeItems = Field(
        SomeItems(), description="Items of the items file that are in none of these interactions."
    )


class Remark(Contract):
    """Something about how the files were read that a reader might not expect."""

    warning: bool = Field(description="Whether it should be looked at.")
    text: str = Field(examples=["orders.csv: passed over: 'price'"])


class Upload(Contract):
    """An uploaded file, and what became of it. It is removed once it is imported, or an hour after it was last used."""

    upload_id: UploadId
    filename: str = Field(examples=["orders.csv"])
    size: int = Field(description="In bytes.", examples=[1048576])
    state: UploadState = Field(examples=["previewed"])
    changed_at: Time
    stage: str = Field("", description="What is done at the moment.", examples=["interactions"])
    done: int = Field(0, description="How much of the stage is done.", examples=[5000])
    total: int = Field(0, description="Of how much; 0 where it is not known.", examples=[100000])
    error: str | None = Field(None, description="Why it failed, or null.", examples=["orders.csv:7: no item id"])
    remarks: tuple[Remark, ...] = Field((), description="What was said while the files were read.")
    preview: Preview | None = Field(None, description="What would be read, or null.")
    imported: ImportOutcome | None = Field(None, description="What was imported, or null.")


class UploadList(Contract):
    """The uploads that are there."""

    uploads: tuple[Upload, ...] = Field(description="The one that was used last first.")
