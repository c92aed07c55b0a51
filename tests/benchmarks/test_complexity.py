"""The slopes of the complexity benchmark are those of the seconds, and every part runs."""

import pytest

from benchmarks.complexity import PARTS, measure_one, slope


def test_a_slope_is_the_power():
    assert slope([1, 2, 4], [3, 12, 48]) == pytest.approx(2)


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part[0].__name__)
def test_every_part_is_measured_by_every_size(part):
    make, claimed, sizes = part
    for size in sizes:
        assert size in claimed
    make()()
    found = measure_one(make, next(iter(sizes)), (50, 100), 1)
    assert found["values"] == [50, 100]
