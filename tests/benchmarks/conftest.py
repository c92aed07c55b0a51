"""The product of the benchmarks, whose services begin where the libraries are imported."""

import subprocess
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from benchmarks import product
from tests.forks import Forked


@pytest.fixture(scope="module", autouse=True)
def _forked_services() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": Forked}))
        yield
