"""The recipe of a data reader: two files, and a folder of such files is read as csv files of the same rows are."""

import json
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, feather

from tests.extending.recipes import ROOT, ChangedSource, recipe

INTERACTIONS = {
    "user_id": [user for user in "abcd" for _ in range(5)],
    "item_id": [str(item % 7) for item in range(20)],
    "timestamp": list(range(20)),
}
ITEMS = {"item_id": [str(item) for item in range(7)], "title": [f"Film {item}" for item in range(7)]}


def test_a_data_reader_is_two_files(tmp_path: Path) -> None:
    found = recipe("A data reader")
    assert len(found.changes) <= 2
    source = found.carry_out(tmp_path / "source")
    folders = tmp_path / "csv", tmp_path / "arrow"
    for folder in folders:
        folder.mkdir()
    for name, columns in (("interactions", INTERACTIONS), ("items", ITEMS)):
        csv.write_csv(pa.table(columns), folders[0] / f"{name}.csv")
        feather.write_feather(pa.table(columns), folders[1] / f"{name}.arrow", chunksize=6)
    same, read = (json.loads(source.run("read_data_set.py", str(folder))) for folder in folders)
    assert (same.pop("format"), read.pop("format")) == ("csv", "arrow")
    assert read == same
    assert sorted(read["titles"]) == ITEMS["title"]
    one_file = json.loads(source.run("read_data_set.py", str(folders[1] / "interactions.arrow")))
    assert one_file["format"] == "arrow"
    (folders[1] / "interactions.arrow").write_bytes(b"ARROW1 and nothing more")
    refused = json.loads(source.run("read_data_set.py", str(folders[1])))["refused"]
    assert "interactions.arrow" in refused
    assert "an Arrow file" in refused
    before = json.loads(ChangedSource(ROOT).run("read_data_set.py", str(folders[1])))
    assert "holds none of" in before["refused"]
