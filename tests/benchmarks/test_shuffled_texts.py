"""How texts are dealt to other items; nothing is trained."""

from dataclasses import replace

from benchmarks.shuffled_texts import dealt
from tests.tiny import tiny_dataset


def test_each_text_goes_to_one_item_and_nothing_else_changes() -> None:
    dataset = tiny_dataset()
    items = tuple(replace(item, text=f"about {item.item_id}") for item in dataset.items)
    before = replace(dataset, items=items)
    after = dealt(before)
    assert sorted(item.text for item in after.items) == sorted(item.text for item in before.items)
    moved = [one.text != other.text for one, other in zip(before.items, after.items, strict=True)]
    assert sum(moved) > len(moved) / 2
    assert [replace(item, text="") for item in after.items] == [replace(item, text="") for item in before.items]
    assert [item.text for item in dealt(before).items] == [item.text for item in after.items]
