"""How the data of others becomes ours; nothing is trained."""

import json

from benchmarks.other_data import AMAZON, industrial


def test_a_sequence_becomes_a_row_per_interaction(tmp_path):
    source = tmp_path / "amazon18-titles"
    source.mkdir()
    (source / f"{AMAZON}.sequences.DERIVED.tsv").write_text("user\titems\nA0\t0 1 1\nA1\t7\n")
    (source / f"{AMAZON}.item.json").write_text(json.dumps({"0": {"title": 'A "big", red saw', "brand": "X"}}))
    interactions, items = industrial(tmp_path, tmp_path)
    assert interactions.read_text().split() == ["user_id,item_id,timestamp", "A0,0,0", "A0,1,1", "A0,1,2", "A1,7,0"]
    assert items.read_text().splitlines() == ["item_id,title", '0,"A ""big"", red saw"']
