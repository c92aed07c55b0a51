"""Paths in answers, as callers write them: where the next page is, a job, a picture."""

from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import quote, urlencode

from fedmem.serving import Item


@dataclass(frozen=True)
class Links:
    """Makes paths below the root path by which callers reach the API.

    Attributes:
        root: the path that a proxy has before the API's own, such as ``/api``; empty without one.
        dataset: the data set that a picture's path names; None: it is meant anyway.
    """

    root: str = ""
    dataset: str | None = None

    def naming(self, dataset: str | None) -> "Links":
        """Name a data set in the paths of pictures."""
        return self if dataset == self.dataset else replace(self, dataset=dataset)

    def path(self, path: str, **query: object) -> str:
        """Make a path with a query of what is given."""
        return f"{self.root}{path}" + (f"?{urlencode(query, doseq=True)}" if query else "")

    def picture(self, item_id: str, path: str | Path | None) -> str | None:
        """Make the path of an item's picture, None where it has none."""
        if path is None:
            return None
        named = {} if self.dataset is None else {"dataset": self.dataset}
        return self.path(f"/items/{quote(item_id, safe='')}/image", **named)

    def picture_of(self, item: Item) -> str | None:
        """Do the same for an item of a model."""
        return self.picture(item.item_id, item.image_path)
