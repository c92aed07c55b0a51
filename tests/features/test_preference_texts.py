from pathlib import Path

import pytest

from fedmem.data.formats import load_dataset
from fedmem.data.interactions import Item
from fedmem.features.preference_texts import names_a_title, preference_boundary, template_text

ALIEN = Item("1", "Alien (1979)", ("Horror", "Sci-Fi"), 1979)
ALIENS = Item("2", "Aliens (1986)", ("Sci-Fi",), 1986)


def test_genres_eras_and_themes_are_named() -> None:
    assert template_text([ALIEN, ALIENS]) == "Sci-Fi, Horror. From the 1970s and 1980s. Often Horror with Sci-Fi."


def test_order_of_the_history_does_not_matter() -> None:
    assert template_text([ALIENS, ALIEN]) == template_text([ALIEN, ALIENS])


def test_nothing_is_invented() -> None:
    assert template_text([]) == ""
    assert template_text([Item("1", "Drill bits"), Item("2", "")]) == ""
    assert template_text([Item("1", "X", year=1999)]) == "From the 1990s."
    assert template_text([Item("1", "X", genres=("Tools",))]) == "Tools."


@pytest.mark.parametrize(
    ("title", "text"),
    [
        ("Romance (1999)", "romance and war"),
        ("Matrix, The (1999)", "like the Matrix."),
        ("Matrix, The (1999)", "a matrix of"),
        ("Femme Nikita, La (1990)", "La femme Nikita"),
        ("Seven (Se7en) (1995)", "as in Se7en"),
        ("Heavy Metal (a.k.a. Métal Hurlant) (1981)", "MÉTAL-HURLANT!"),
        ("Star Wars: Episode IV - A New Hope (1977)", "star wars, episode iv: a new hope"),
        ("M (1931)", "by M,"),
    ],
)
def test_a_title_is_found(title: str, text: str) -> None:
    assert names_a_title(text, ["Another", title])


@pytest.mark.parametrize(
    ("title", "text"), [("Heat (1995)", "heated romance"), ("$ (1971)", "for $ 5"), ("", "x"), ("1990 (1999)", "1990s")]
)
def test_a_part_of_a_word_is_no_title(title: str, text: str) -> None:
    assert not names_a_title(text, [title])


@pytest.mark.parametrize(
    "titles",
    [["Romance"], ["Often"], ["War"], ["Drama"], ["Drama", "Romance", "War"], ["With"], ["Drama with Romance"]],
)
def test_films_named_like_a_genre_or_a_word_of_the_template(titles: list[str]) -> None:
    history = [Item(str(n), title, ("Drama", "Romance", "War"), 1999) for n, title in enumerate(titles)]
    text = template_text(history)
    assert not any(
        f" {title.casefold()} " in f" {text.casefold()} ".replace(",", " ").replace(".", " ") for title in titles
    )


def test_no_title_of_a_real_history_stands_in_its_text(shared_data: Path) -> None:
    dataset = load_dataset(shared_data / "ml-100k")
    written = 0
    for user in range(dataset.num_users):
        history = dataset.training_history(user)
        items = [dataset.items[int(index) - 1] for index in history[: preference_boundary(len(history))]]
        text = template_text(items)
        assert not names_a_title(text, [item.title for item in items])
        assert not any(item.title in text for item in items)
        written += bool(text)
    assert written == dataset.num_users


def test_the_first_half_is_written_from() -> None:
    assert [preference_boundary(length) for length in (0, 1, 2, 3, 10)] == [0, 0, 1, 1, 5]
