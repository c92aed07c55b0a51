"""The recipe of a dashboard page: two files, and the page is in the navigation and shows what the API tells."""

from pathlib import Path

import pytest

from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import backend_on
from tests.end_to_end.products import Product
from tests.extending.recipes import recipe


def test_a_dashboard_page_is_two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recipe("A dashboard page")
    assert len(found.changes) <= 2
    source = found.carry_out(tmp_path / "source")
    product = Product.made(tmp_path)
    PretendedTrainer(product.url).queue("tiny")
    with backend_on(product.url, product.data_dir) as api:
        monkeypatch.setenv("FEDMEM_API_URL", api)
        shown = source.run("dashboard_page.py", "catalogue")
    assert shown.startswith("Catalogue\n")
    assert ">Film 1</div>" in shown
