"""How films get their plots; nothing is trained."""

from pathlib import Path

from benchmarks.item_texts import COLUMNS, WAYS, described


def test_films_have_their_plots_or_none(tmp_path: Path) -> None:
    for folder in ("ml-1m", "ml-1m-plots"):
        (tmp_path / folder).mkdir()
    films = "1::Café (1995)::Drama\n2::Heat (1995)::Action|Crime\n3::Lost (1990)::Drama\n"
    (tmp_path / "ml-1m" / "movies.dat").write_text(films, encoding="latin-1")
    plots = "1::Café::..::A waiter waits.::http://1\n2::Heat::..::N/A::http://2\n"
    (tmp_path / "ml-1m-plots" / "movies_extrainfos.dat").write_text(plots, encoding="utf-8")
    assert list(described(tmp_path)) == [
        ("1", "Café (1995)", "Drama", "A waiter waits."),
        ("2", "Heat (1995)", "Action|Crime", ""),
        ("3", "Lost (1990)", "Drama", ""),
    ]
    assert {name: COLUMNS[:width] for name, width in WAYS.items()}["plots"] == ("item_id", "title", "genres", "text")
