"""The Items and Users pages on a real API: found, hidden, shown, edited, deleted, and what is refused."""

import pytest

from fedmem.storage.catalogue import CatalogueStore
from fedmem.storage.catalogue_rows import ItemRow
from tests.dashboard.sites import backend_on, read
from tests.dashboard.test_pages import words
from tests.end_to_end.products import Product


@pytest.fixture(scope="module")
def product(tmp_path_factory) -> Product:
    product = Product.made(tmp_path_factory.mktemp("items"))
    item = ItemRow("m02", "Film 2", ("Drama",), 1999, text="Film 2 (1999). Drama. Two friends.")
    CatalogueStore(product.engine).put_item("tiny", item)
    return product


@pytest.fixture
def store(product) -> CatalogueStore:
    return CatalogueStore(product.engine)


@pytest.fixture(scope="module")
def api(product):
    with backend_on(product.url, product.data_dir) as address:
        yield address


def labels(app):
    return [read(box.label) for box in app.checkbox]


def test_an_item_is_named_by_its_id_and_its_year_once(page, api, store):
    store.put_item("tiny", ItemRow("m29", "187 (1997)", ("Drama",), 1997, text="187"))
    store.put_item("tiny", ItemRow("m30", "Some *film*", ("Drama",), 1998, text="Some"))
    app = page("items", api)
    assert "187 (1997) · m29 · Drama" in labels(app)
    app.text_input(key="items-query").set_value("some").run()
    assert labels(app) == ["Some *film* · m30 · Drama, 1998"]
    for item_id, number in (("m29", 29), ("m30", 30)):
        store.put_item("tiny", ItemRow(item_id, f"Film {number}"))


def test_items_are_found_and_paged(page, api):
    app = page("items", api)
    assert "1 to 20 of 30" in words(app)
    app.button(key="items-further").click().run()
    assert "21 to 30 of 30" in words(app)
    assert app.button(key="items-further").disabled
    app.text_input(key="items-query").set_value("film 2").run()
    assert "1 to 11 of 11" in words(app), "another question begins at its beginning"
    assert labels(app)[0].startswith("Film 2 ")
    app.text_input(key="items-query").set_value("no such *film*").run()
    assert "No such item has “no such *film*” in its title." in words(app) + read(app.info[0].value)


def test_several_are_hidden_and_shown_again(page, api, store):
    app = page("items", api)
    assert app.button(key="items-hide").disabled
    for item_id in ("m01", "m10"):
        app.checkbox(key=f"item-tiny-{item_id}").check()
    app.run()
    assert app.button(key="items-hide").label == "Hide 2"
    assert app.button(key="items-show").disabled
    app.button(key="items-hide").click().run()
    assert store.hidden_of("tiny", ["m01", "m02", "m10"]) == {"m01", "m10"}
    assert "2 items are hidden, from the next answer on." in read(app.success[0].value)
    assert not app.checkbox(key="item-tiny-m01").value
    app.segmented_control(key="items-which").set_value("Hidden").run()
    assert len(app.checkbox) == 2
    app.checkbox(key="item-tiny-m01").check().run()
    app.button(key="items-show").click().run()
    assert store.hidden_of("tiny", ["m01", "m02", "m10"]) == {"m10"}
    assert "1 item is shown again" in read(app.success[0].value)
    assert len(app.checkbox) == 1


def test_an_item_is_edited(page, api, store):
    app = page("items", api)
    app.button(key="edit-m02").click().run()
    assert app.text_area(key="edit-text-m02").value == "Two friends."
    app.text_input(key="edit-title-m02").set_value("Film *Two*")
    app.text_input(key="edit-genres-m02").set_value("Drama, Comedy,")
    app.number_input(key="edit-year-m02").set_value(2001)
    app.text_input(key="edit-tags-m02").set_value("vegan, new")
    app.button(key="save-item").click().run()
    row = store.item("tiny", "m02")
    assert (row.title, row.genres, row.year) == ("Film *Two*", ("Drama", "Comedy"), 2001)
    assert row.tags == ("vegan", "new")
    assert row.text == "Film *Two* (2001). Drama, Comedy. Two friends."
    assert "Film *Two* is saved." in read(app.success[0].value)
    assert "edit-title-m02" not in {field.key for field in app.text_input}


def test_an_edit_that_is_refused_stays_open(page, api, store):
    app = page("items", api)
    app.button(key="edit-m11").click().run()
    app.text_input(key="edit-title-m11").set_value("  ")
    app.button(key="save-item").click().run()
    assert "An item needs a title" in read(app.error[0].value)
    assert store.item("tiny", "m11").title == "Film 11"
    app.button(key="leave-item").click().run()
    assert not app.error


def test_the_user_of_the_address_is_shown_and_the_address_follows_the_choice(page, api):
    app = page("users", api, dataset="tiny", user="u04")
    assert "User u04" in words(app).replace("**", "")
    app.text_input(key="users-query").set_value("u05").run()
    assert app.query_params["user"] == "u05"
    unknown = page("users", api, user="u99")
    assert "u99" in read(unknown.info[0].value)
    assert not unknown.button, "nothing of another user may be deleted here"


def test_a_user_is_shown_and_deleted_when_it_is_confirmed(page, api, store):
    app = page("users", api)
    app.text_input(key="users-query").set_value("u03").run()
    count = len(store.history("tiny", "u03"))
    assert f"{count} interactions" in words(app)
    app.button(key="delete-user").click().run()
    assert f"User u03 of the data set tiny goes for good: {count} interactions" in words(app).replace("**", "")
    assert store.history("tiny", "u03"), "it is asked first"
    look = {name: app.button(key=f"{name}-delete-user").proto.type for name in ("confirm", "leave")}
    assert look == {"confirm": "secondary", "leave": "primary"}, "what cannot be taken back does not stand out"
    app.button(key="leave-delete-user").click().run()
    assert store.history("tiny", "u03")
    app.button(key="delete-user").click().run()
    app.button(key="confirm-delete-user").click().run()
    assert not store.history("tiny", "u03")
    assert "User u03 of tiny is deleted." in read(app.success[0].value)
    assert "user" not in app.query_params
    assert "No user's id contains “u03”" in words(app) + read(app.info[0].value)
