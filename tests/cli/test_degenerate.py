"""Data at the edge of what can be trained on: one sentence, or an honest table, and never a traceback."""

import io
import json
import re
import sys

import pytest

from cli import main

HEADER = "user_id,item_id,timestamp\n"
DIGITS = "9" * 5000
FULL = HEADER + "".join(f"u{user},i{place % 3},{place}\n" for user in range(4) for place in range(8))
LOOPS = HEADER + "".join(f"u{user},i{user * 2 + place % 3},{place}\n" for user in range(9) for place in range(8))
PLAIN = HEADER + "".join(f"u{user},i{(user * 3 + place) % 17},{place}\n" for user in range(9) for place in range(7))


@pytest.fixture
def train(fedmem, tmp_path, quick, config):
    def run(content: str, *options: object):
        (tmp_path / "log.csv").write_text(content, encoding="utf-8")
        command = ("train", "--data", tmp_path / "log.csv", "--config", config, "--out", tmp_path / "run")
        return fedmem(*command, *quick, *options)

    return run


@pytest.mark.parametrize(
    ("content", "settings", "why"),
    [
        (FULL, (), "every one of the 4 users .* has taken all of the 3 items, so nothing unseen is left"),
        (PLAIN, ("data.min_sequence_length=9",), r"the longest of 9 histories has 7.*set data\.min_sequence_length=7"),
        (PLAIN, ("data.cold_user_fraction=0.97",), r"data\.cold_user_fraction = 0\.97 keeps all of the 9 users"),
        (PLAIN, (f"seed={DIGITS}",), r"\(5,000 characters\) is no usable number"),
        (PLAIN, (f"data.max_history=0x{DIGITS}",), r"data\.max_history = a number of thousands of digits"),
        (PLAIN, ("training.num_negatives=" + "9" * 30,), r"training\.num_negatives = 9{30}: .*1000000"),
        (PLAIN, ("evaluation.k_list=[10,99999999999999999999]",), r"k_list\.1 = 9{20}"),
        (PLAIN.replace(",3\n", f",{DIGITS}\n", 1), (), r"log\.csv.*timestamp"),
    ],
)
def test_what_cannot_be_trained_on_ends_in_one_line(train, tmp_path, content, settings, why):
    outcome = train(content, *(part for setting in settings for part in ("--set", setting)))
    (line,) = (line for line in outcome.err.splitlines() if line.startswith("error:"))
    assert outcome.code == 2
    assert re.search(why, line), line
    assert not (tmp_path / "run").exists()


def test_repeated_targets_are_misses_unless_they_are_offered(train, fedmem, tmp_path):
    found = {}
    for repeats in ("hide", "offer"):
        outcome = train(LOOPS, "--set", f"data.repeats={repeats}", "--out", tmp_path / repeats)
        assert outcome.code == 0, outcome.err
        assert "100.0% of the validation targets and 100.0% of the test targets" in outcome.err
        found[repeats] = json.loads(fedmem("evaluate", tmp_path / repeats, "--json").out)
        assert (found[repeats]["repeats"], found[repeats]["repeated_targets"]) == (repeats, 1.0)
        lists = fedmem("recommend", tmp_path / repeats, "--user", "u1", "-k", "50", "--json")
        seen = {"i2", "i3", "i4"} & {item["item_id"] for item in json.loads(lists.out)["items"]}
        assert seen == ({"i2", "i3", "i4"} if repeats == "offer" else set())
    hits = {repeats: [row["metrics"]["HR@20"]["mean"] for row in of["warm"]] for repeats, of in found.items()}
    assert set(hits["hide"]) == {0.0}
    assert min(hits["offer"]) > 0.5
    assert "100.0% of the targets are items that their users took before: never offered" in (
        fedmem("evaluate", tmp_path / "hide").err
    )


def test_a_bot_is_trained_on_in_part_and_named(train):
    bot = "".join(f"bot,i{(place * 7) % 16},{place}\n" for place in range(400))
    outcome = train(PLAIN + bot, "--set", "data.max_history=50")
    assert outcome.code == 0, outcome.err
    assert "a user has 400 interactions: a client trains on the newest data.max_history = 50" in outcome.err


def test_an_output_that_lacks_characters_shows_others_and_json_loses_none(train, tmp_path):
    content = re.sub(r",i(\d)", ",Am\u00e9lie \u6620\u753b \\1", PLAIN)
    assert train(content).code == 0
    for encoding in ("ascii", "latin-1", "cp1252"):
        shown, as_json = (
            printed(encoding, "recommend", str(tmp_path / "run"), "--user", "u1", "-k", "2", *more)
            for more in ([], ["--json"])
        )
        assert ("Am\u00e9lie ??" if encoding != "ascii" else "Am?lie ??") in shown.decode(encoding)
        assert "\\u6620\\u753b" in as_json.decode(encoding)


def printed(encoding: str, *arguments: str) -> bytes:
    """The bytes on an output of this encoding, which is as strict as a process's own."""
    output = io.BytesIO()
    with io.TextIOWrapper(output, encoding) as stream, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        patch.setattr(sys, "argv", ["fedmem", *arguments])
        patch.setenv("COLUMNS", "120")
        with pytest.raises(SystemExit, match="0"):
            main()
        stream.flush()
        return output.getvalue()


def test_a_text_of_a_megabyte_is_cut_with_a_word(fedmem, tmp_path):
    (tmp_path / "log.csv").write_text(PLAIN, encoding="utf-8")
    texts = "".join(f"i{n},Film {n},{'word ' * 200_000 if n == 3 else 'short'}\n" for n in range(17))
    (tmp_path / "items.csv").write_text("item_id,title,text\n" + texts, encoding="utf-8")
    outcome = fedmem(
        *("data", "import", tmp_path / "log.csv", "--items", tmp_path / "items.csv"),
        *("--database-url", f"sqlite:///{tmp_path / 'x.db'}"),
    )
    assert outcome.code == 0, outcome.err
    assert "the texts of 1 items are cut to their first 20,000 characters (item i3)" in outcome.err
    assert (tmp_path / "x.db").stat().st_size < 400_000


def test_an_import_says_how_many_targets_repeat(fedmem, tmp_path):
    (tmp_path / "log.csv").write_text(LOOPS, encoding="utf-8")
    command = ("data", "import", tmp_path / "log.csv", "--database-url", f"sqlite:///{tmp_path / 'x.db'}")
    assert "100.0% of the users' last items here are ones that they took before: never offered" in fedmem(*command).err
    assert "took before: offered again" in fedmem(*command, "--repeats", "offer").err
    assert json.loads(fedmem(*command, "--json").out)["repeated_targets"] == 1.0
