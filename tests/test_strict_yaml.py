"""YAML in which no key stands twice."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from yaml import safe_dump, safe_load

from fedmem.errors import ConfigError
from fedmem.strict_yaml import parse_yaml


@pytest.mark.parametrize(
    ("text", "key", "first", "second"),
    [
        (
            "training:\n  learning_rate: 0.3\nfederated:\n  num_rounds: 2\ntraining:\n  weight_decay: 0.5\n",
            "training",
            1,
            5,
        ),
        ("model:\n  max_seq_len: 10\n  # a comment\n  max_seq_len: 20\n", "max_seq_len", 2, 4),
        ("seed: 1\n'seed': 2\n", "seed", 1, 2),
        ("data: {repeats: hide, repeats: offer}", "repeats", 1, 1),
        ("a:\n  - b: 1\n    b: 2\n", "b", 2, 3),
    ],
)
def test_a_key_that_stands_twice_is_named_with_both_lines(text, key, first, second):
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "mine.yaml")
    assert (
        str(caught.value) == f"mine.yaml: the key {key!r} stands twice, in line {first} and in line {second}; keep one"
    )


def test_the_same_key_in_two_sections_and_over_a_merged_one_is_fine():
    text = "base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  a: 3\n"
    assert parse_yaml(text, "mine.yaml") == {"base": {"a": 1, "b": 2}, "more": {"a": 3, "b": 2}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("seed: " + "9" * 5000, r"in line 1, 9{40}\.\. \(5,000 characters\) is no usable number"),
        ("a: 1\nb: 2026-13-45\n", "in line 2, 2026-13-45 is no usable number or date"),
        ("[" * 5000, "nested too deeply"),
        ("a: [1", "not valid YAML"),
        ("? [1]\n: 2\n", "not valid YAML"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_where(text, why):
    with pytest.raises(ConfigError, match=f"^mine.yaml: .*{why}") as caught:
        parse_yaml(text, "mine.yaml")
    assert "\n" not in str(caught.value)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)


@given(values)
def test_everything_else_is_read_as_ever(value):
    text = safe_dump(value)
    assert parse_yaml(text, "any") == safe_load(text)
