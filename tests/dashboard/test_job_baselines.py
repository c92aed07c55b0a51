"""Jobs on the Experiments page beside what methods without training reach on the same data."""

import pytest

from dashboard.words import difference, share
from tests.dashboard.example_rounds import BASELINES, Curves
from tests.dashboard.pretended_trainer import PretendedTrainer
from tests.dashboard.sites import backend_on, word_tables
from tests.end_to_end.products import Product

NAMES = ("popularity", "item_counts", "ease")


def jobs_table(app):
    return next(shown for shown in word_tables(app) if "Job" in shown)


def captions(app):
    return " ".join(caption.value for caption in app.caption)


def of_job(shown, number, column):
    (cell,) = shown[shown["Job"] == str(number)][column]
    return cell


def test_the_baselines_stand_below_the_jobs_on_validation(page, filled):
    app = page("experiments", filled.api)
    rows = jobs_table(app).tail(3)
    start = filled.get(f"/jobs/{filled.full}/metrics")["rounds"][0]["metrics"]["validation"]
    assert list(rows["Run"]) == ["Popularity", "Item-item counts", "EASE"]
    assert set(rows["Job"]) == {"baseline"}
    for metric in ("HR@10", "NDCG@10"):
        expected = [f"{share(start[f'{name}_{metric}'])} ± {share(start[f'{name}_{metric}_se'])}" for name in NAMES]
        assert list(rows[f"Val. {metric}"]) == expected
        assert set(rows[f"Test {metric}"]) == {""}
    assert f"these are of job {filled.without_memory}" in captions(app)


def test_a_job_says_how_far_it_is_from_the_best_baseline(page, filled):
    said = of_job(jobs_table(page("experiments", filled.api)), filled.full, "Minus baseline")
    start = filled.get(f"/jobs/{filled.full}/metrics")["rounds"][0]["metrics"]["validation"]
    model = next(one for one in filled.get("/models")["models"] if one["job_id"] == filled.full)
    best = max(start[f"{name}_NDCG@10"] for name in NAMES)
    assert said == difference(model["metrics"]["validation"]["NDCG@10"] - best)


@pytest.fixture(scope="module")
def nodes_api(tmp_path_factory):
    """A job that measured baselines, and a newer one that did not, as those over nodes."""
    product = Product.made(tmp_path_factory.mktemp("nodes"))
    product.write("books", "b", "Book")
    trainer = PretendedTrainer(product.url)
    for dataset, measured in (("tiny", True), ("tiny", False), ("books", False)):
        trainer.queue(dataset, federated={"num_rounds": 20})
        lease = trainer.claim()
        trainer.train(lease, 20, Curves(baselines=measured))
        trainer.finish(lease, Curves(), activate=False)
    with backend_on(product.url, product.data_dir) as address:
        yield address


def test_jobs_that_measured_no_baselines_have_none(page, nodes_api):
    app = page("experiments", nodes_api)
    by_jobs = {tuple(shown["Job"]): shown for shown in word_tables(app) if "Job" in shown}
    mixed = next(shown for jobs, shown in by_jobs.items() if "1" in jobs)
    assert sorted(mixed["Job"]) == ["1", "2", *["baseline"] * 3]
    assert of_job(mixed, 1, "Minus baseline")[0] in "+−"
    assert of_job(mixed, 2, "Minus baseline") == "–"
    assert share(BASELINES["ease_NDCG@10"]) in list(mixed["Val. NDCG@10"])
    assert ("3",) in by_jobs
    assert captions(app).count("these are of job 1") == captions(app).count("these are of job") == 1
