"""What an import of files would store, before anything is stored."""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError

from fedmem.contracts.uploads import Preview, PreviewItem, PreviewRow
from fedmem.data.formats import Reading
from fedmem.data.interactions import Interactions, Item
from fedmem.errors import ConfigError
from fedmem.importing.unmatched import untitled_in, without_interactions, without_title
from fedmem.importing.writing import left_out

ROWS, LETTERS = 8, 300
_READING: TypeAdapter[Reading] = TypeAdapter(Reading)


def checked_options(options: dict[str, Any]) -> None:
    """Check options that are to be the fields of ``Reading``.

    Raises:
        ConfigError: naming the first that is none, or whose value does not fit.
    """
    names = Reading.__dataclass_fields__
    for name in options:
        if name not in names:
            raise ConfigError(f"options.{name}: there is no such option; there are: {', '.join(names)}")
    try:
        _READING.validate_json(json.dumps(options), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(
            f"options.{'.'.join(map(str, first['loc']))} = {first['input']!r}: {first['msg']}"
            if first["loc"]
            else first["msg"].removeprefix("Value error, ")
        ) from None


def preview_of(format: str, interactions: Interactions, items: Sequence[Item]) -> Preview:
    """Count what was read, and show its beginning."""
    titles = {item.item_id: item.label for item in items}
    described = [item for item in items if item.described]
    return Preview(
        format=format,
        users=len(set(interactions.users)),
        items=len(items),
        described=len(described),
        interactions=len(interactions),
        numbered=interactions.numbered,
        left_out=left_out(interactions),
        repeated_targets=interactions.repeated_targets(),
        without_title=without_title(interactions, untitled_in(items)),
        without_interactions=without_interactions(interactions, items),
        first=tuple(_row(interactions, place, titles) for place in range(min(ROWS, len(interactions)))),
        first_items=tuple(map(_item, described[:ROWS])),
    )


def _row(read: Interactions, place: int, titles: dict[str, str]) -> PreviewRow:
    item_id = read.items[place]
    return PreviewRow(
        user_id=read.users[place],
        item_id=item_id,
        title=_in_short(titles.get(item_id, item_id)),
        timestamp=float(read.timestamps[place]),
    )


def _item(item: Item) -> PreviewItem:
    title, text = _in_short(item.title), _in_short(item.text)
    return PreviewItem(item_id=item.item_id, title=title, genres=item.genres, year=item.year, text=text)


def _in_short(text: str) -> str:
    return text if len(text) <= LETTERS else f"{text[:LETTERS]} .."
