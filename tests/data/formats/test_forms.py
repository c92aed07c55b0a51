"""One table, written in every form there is, is read as the same data set from each."""

import itertools

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedmem.data.formats import Reading, read_interactions
from tests.data.formats.written_forms import Form, every_form

# From 2001 on: times that a reader is to take for seconds and milliseconds alike.
ROWS = st.lists(
    st.tuples(st.integers(0, 10**6), st.integers(0, 10**15 - 1), st.integers(10**9, 4 * 10**9)), min_size=1, max_size=5
)
BY_FORMAT = {name: list(forms) for name, forms in itertools.groupby(every_form(), key=lambda form: form.format)}


def read(form: Form, rows, folder):
    found = read_interactions(form.write(rows, folder), Reading(**form.options))
    assert not found.numbered
    return list(zip(found.users, found.items, found.timestamps.tolist(), strict=True))


@pytest.mark.parametrize("format", BY_FORMAT)
def test_every_form_of_one_table(format, tmp_path):
    rows = [(7, 12, 1764000000), (8, 12, 1764000060), (7, 10**15 - 1, 1764086399), (7, 12, 1700000000)]
    assert len(BY_FORMAT[format]) >= 30
    for form in BY_FORMAT[format]:
        assert read(form, rows, tmp_path) == form.expected(rows), form


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ROWS, st.sampled_from(every_form()))
def test_any_table_in_any_form(tmp_path, rows, form):
    assert read(form, rows, tmp_path) == form.expected(rows)
