"""Places for requests: so many in all, and so many of one address."""

import pytest

from backend.concurrency_limit import ConcurrencyLimit
from backend.errors import NotReadyError


def test_so_many_of_one_address_and_so_many_in_all():
    places = ConcurrencyLimit("batches wait", 3, 2)
    with places.slot("a"), places.slot("a"):
        with pytest.raises(NotReadyError, match="2 batches wait of your address"), places.slot("a"):
            pass
        with places.slot("b"), pytest.raises(NotReadyError, match="3 batches wait, the most"), places.slot("c"):
            pass
        with places.slot("c"):
            assert places.taken == {"a": 2, "c": 1}
    assert not places.taken


def test_a_place_is_given_back_where_the_work_fails():
    places = ConcurrencyLimit("batches wait", 1, 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError), places.slot("a"):
            raise ZeroDivisionError
