"""Whole data sets: small ones made by hand, and the real ones where they are present."""

import numpy as np
import pytest

from fedmem.data.formats import load_dataset, read_dataset
from fedmem.errors import ConfigError, DataError

CSV = "user_id,item_id,timestamp\n" + "".join(f"{user},{item},{item}\n" for user in "ab" for item in range(1, 7))


@pytest.fixture
def folder(tmp_path):
    """A folder with interactions.csv."""
    (tmp_path / "interactions.csv").write_text(CSV)
    return tmp_path


def test_a_folder_with_items_and_pictures(folder):
    (folder / "items.csv").write_text("item_id,title\n6,Six\n1,One (2001)\n99,Never watched\n")
    pictures = folder / "pictures"
    pictures.mkdir()
    (pictures / "6.jpg").write_bytes(b"picture")
    (pictures / "3.jpg").write_bytes(b"picture")
    data = load_dataset(folder, images=pictures)
    assert (data.name, data.num_users, data.num_items) == (folder.name, 2, 6)
    assert [item.title for item in data.items] == ["One (2001)", "", "", "", "", "Six"]
    assert [item.image_path is not None for item in data.items] == [False, False, True, False, False, True]


def test_titles_join_a_sasrec_file_through_its_map(tmp_path):
    (tmp_path / "ml-1m.txt").write_text("1 1\n1 2\n1 3\n2 3\n2 1\n2 2\n")
    (tmp_path / "sas_to_original_items.txt").write_text("1 1198\n2 3552\n3 356\n")
    titles = tmp_path / "elsewhere.dat"
    titles.write_text("356::Forrest Gump (1994)::Comedy\n1::Toy Story (1995)::Comedy\n1198::Raiders (1981)::Action\n")
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    (pictures / "3552.jpg").write_bytes(b"picture")
    data = load_dataset(tmp_path, items=titles, images=pictures, min_sequence_length=3)
    assert [(item.item_id, item.title) for item in data.items] == [
        ("1", "Raiders (1981)"),
        ("2", ""),
        ("3", "Forrest Gump (1994)"),
    ]
    assert data.items[1].image_path == pictures / "3552.jpg"
    assert data.history(1).tolist() == [3, 1, 2]


SASREC_MAP = "1 1198\n2 3552\n3 356\n"
OWN_NUMBERS = "1::One::Comedy\n2::Two::Comedy\n3::Three::Comedy\n"
GAPS = OWN_NUMBERS + "356::Forrest Gump (1994)::Comedy\n"


@pytest.mark.parametrize(
    ("items", "map_of_ids", "titles", "warned"),
    [(1, None, GAPS, True), (1, SASREC_MAP, GAPS, False), (1, None, OWN_NUMBERS, False), (2, None, GAPS, False)],
    ids=["no map", "with its map", "numbered alike", "ids of its own"],
)
def test_numbers_of_sasrec_without_their_map_are_warned_of(tmp_path, caplog, items, map_of_ids, titles, warned):
    rows = (f"{user} {item}\n" for user in (1, 2) for item in range(items, items + 3))
    (tmp_path / "ml-1m.txt").write_text("".join(rows))
    if map_of_ids is not None:
        (tmp_path / "sas_to_original_items.txt").write_text(map_of_ids)
    (tmp_path / "elsewhere.dat").write_text(titles)
    load_dataset(tmp_path / "ml-1m.txt", items=tmp_path / "elsewhere.dat", min_sequence_length=3)
    said = [message for message in caplog.messages if "put its map, sas_to_original_items.txt, beside it" in message]
    assert len(said) == warned


def test_duplicates_and_bad_rows_are_counted(folder):
    (folder / "interactions.csv").write_text(CSV + "a,1,1\na,1\nb,2,2\n")
    (folder / "items.csv").write_text("item_id,title\n1,One\n2\n")
    data = load_dataset(folder, skip_bad_rows=2)
    assert (data.duplicates_dropped, data.rows_skipped, len(data.sequence)) == (2, 2, 12)
    with pytest.raises(DataError, match=r"items.csv:3"):
        load_dataset(folder, skip_bad_rows=1)


def test_items_of_another_data_set_are_refused(folder):
    (folder / "items.csv").write_text("item_id,title\n100,Hundred\n")
    with pytest.raises(DataError, match=r"items.csv describes none of the items in .*interactions.csv"):
        load_dataset(folder)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ("a,{n},{n}\n", "all 6 interactions are of one user .'a'.*at least two clients"),
        ("u{n},x,{n}\n", "all 6 interactions are of one item .'x'.*nothing to rank"),
        ("u{n},i{n},{n}\n", "no user has data.min_sequence_length = 5 interactions .the longest of 6 histories has 1"),
    ],
)
def test_data_that_cannot_be_trained_on(folder, row, why):
    content = "user_id,item_id,timestamp\n" + "".join(row.format(n=n) for n in range(6))
    (folder / "interactions.csv").write_text(content)
    with pytest.raises(DataError, match=f"interactions.csv: {why}"):
        load_dataset(folder)


def test_a_minimum_out_of_range_is_refused_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="min_sequence_length = 1"):
        load_dataset(tmp_path / "nowhere", min_sequence_length=1)


def test_reading_writes_nothing(folder):
    before = sorted(folder.iterdir())
    load_dataset(folder)
    assert sorted(folder.iterdir()) == before


def test_named_columns(folder):
    (folder / "interactions.csv").write_text(CSV.replace("user_id,item_id,timestamp", "who,what,when"))
    data = load_dataset(folder, user_column="who", item_column="what", timestamp_column="when")
    assert (data.num_users, data.num_items) == (2, 6)


# Real data. The limits of time leave room for a busy machine; alone, each takes about a quarter of its limit.


def sizes(data):
    return len(data.sequence), data.num_users, data.num_items


def test_movielens_100k(shared_data):
    data = load_dataset(shared_data / "ml-100k")
    assert sizes(data) == (100_000, 943, 1682)
    assert (data.name, data.duplicates_dropped, data.rows_skipped) == ("ml-100k", 0, 0)
    assert len(data.trainable_users) == 943
    assert data.items[0].text == "Toy Story (1995). Animation, Children's, Comedy"
    assert data.items[data.vocabulary.item_index("543") - 1].title == "Les Misérables (1995)"
    assert [item.item_id for item in data.items if not item.text] == ["267"]
    assert sum(item.year is not None for item in data.items) == 1681


def test_movielens_100k_is_in_stable_order(shared_data):
    rows = np.loadtxt(shared_data / "ml-100k" / "u.data", dtype=np.int64)
    data = load_dataset(shared_data / "ml-100k")
    for raw in (1, 13, 405, 943):
        own = [(time, line, item) for line, (user, item, _, time) in enumerate(rows.tolist()) if user == raw]
        expected = [str(item) for _, _, item in sorted(own)]
        history = data.history(data.vocabulary.user_index(str(raw)))
        assert [data.vocabulary.item_id(index) for index in history] == expected


def test_movielens_latest_small(shared_data):
    data = load_dataset(shared_data / "ml-latest-small", images=shared_data / "posters")
    assert sizes(data) == (100_836, 610, 9724)
    assert data.items[data.vocabulary.item_index("11") - 1].title == "The American President (1995)"
    assert sum(item.image_path is not None for item in data.items) == 760
    assert all(item.title for item in data.items)


def test_sasrec_movielens_1m_with_titles(shared_data):
    movies = shared_data / "ml-1m" / "movies.dat"
    data = load_dataset(shared_data / "ml-1m-sasrec", items=movies, images=shared_data / "posters")
    assert sizes(data) == (999_611, 6040, 3416)
    assert all(item.title and item.year for item in data.items)
    forrest_gump = data.items[data.vocabulary.item_index("3") - 1]
    assert forrest_gump.title == "Forrest Gump (1994)"
    assert forrest_gump.image_path == shared_data / "posters" / "356.jpg"
    lines = (shared_data / "ml-1m-sasrec" / "ml-1m.txt").read_text().splitlines()
    assert data.history(0).tolist() == [int(line.split()[1]) for line in lines if line.startswith("1 ")]


def test_sasrec_amazon(shared_data):
    data = load_dataset(shared_data / "sasrec-amazon" / "Video.txt")
    assert sizes(data) == (287_107, 31_013, 23_715)
    assert not any(data.item_text)
    assert 0 < len(data.trainable_users) < data.num_users


def test_movielens_1m_at_scale_holds_the_sequences_of_sasrec(shared_data):
    folder = shared_data / "ml-1m-sasrec"
    path = folder / "ratings.RECONSTRUCTED-not-original.dat.gz"
    data = load_dataset(path, items=shared_data / "ml-1m" / "movies.dat")
    assert sizes(data) == (999_611, 6040, 3416)
    original = dict(line.split() for line in (folder / "sas_to_original_items.txt").read_text().splitlines())
    users = dict(line.split() for line in (folder / "sas_to_original_users.txt").read_text().splitlines())
    sequences = load_dataset(folder)
    for user in (0, 17, 6039):
        expected = [original[sequences.vocabulary.item_id(index)] for index in sequences.history(user)]
        history = data.history(data.vocabulary.user_index(users[sequences.vocabulary.user_id(user)]))
        assert [data.vocabulary.item_id(index) for index in history] == expected


@pytest.mark.parametrize(("name", "title"), [("web.csv", ""), ("interactions.csv", "Of the other shop")])
def test_items_beside_a_file_are_its_own_only_where_it_is_called_as_in_a_folder(tmp_path, name, title):
    (tmp_path / name).write_text("user_id,item_id,timestamp\n" + "".join(f"u{n},{n % 3},{n}\n" for n in range(9)))
    (tmp_path / "items.csv").write_text("item_id,title\n1,Of the other shop\n")
    titles = {item.item_id: item.title for item in read_dataset(tmp_path / name)[1]}
    assert ("Of the other shop" in titles.values()) == bool(title)
    named = read_dataset(tmp_path / name, items=tmp_path / "items.csv")[1]
    assert "Of the other shop" in {item.title for item in named}


def test_a_stray_items_file_beside_a_file_is_left_out_with_a_warning(tmp_path, caplog):
    (tmp_path / "interactions.csv").write_text(
        "user_id,item_id,timestamp\n" + "".join(f"u{n},i{n % 3},{n}\n" for n in range(9))
    )
    (tmp_path / "items.csv").write_text("item_id,title\nother,Another film\n")
    with pytest.raises(DataError, match="describes none of the items"):
        load_dataset(tmp_path / "interactions.csv", items=tmp_path / "items.csv", min_sequence_length=3)
    with pytest.raises(DataError, match="nothing to train on"):
        load_dataset(tmp_path / "interactions.csv", min_sequence_length=3)
    assert "titles are not used" in caplog.text
    caplog.clear()
    assert "other" not in {item.item_id for item in read_dataset(tmp_path / "interactions.csv")[1]}
    assert "titles are not used" in caplog.text
