"""The product of the benchmarks, whose services begin where the libraries are imported, and step back for no test."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from benchmarks import product
from tests.forks import Forked


class Service(Forked):
    """A trainer steps back for others by default, and would take for as long as other tests keep the machine busy."""

    def __init__(self, command: Sequence[str], *, env: Mapping[str, str], **given: Any) -> None:
        super().__init__(command, env={**env, "FEDMEM_TRAINER_NICE": "0"}, **given)


@pytest.fixture(scope="module", autouse=True)
def _forked_services() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(product, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": Service}))
        yield
