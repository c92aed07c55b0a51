"""The same on PostgreSQL: a trainer that is killed, and the job's bits, which do not depend on the database."""

import signal
from pathlib import Path

from tests.end_to_end.products import Product
from tests.waiting import PATIENCE

HERE = Path(__file__).parent


def test_a_killed_trainers_job_ends_with_the_bits_that_it_has_on_sqlite(postgresql_url, tmp_path):
    outcomes = []
    for name, url in (("sqlite", None), ("postgresql", postgresql_url)):
        (tmp_path / name).mkdir()
        product = Product.made(tmp_path / name, url)
        job = product.queue()
        if url:
            process = product.start(str(HERE / "killed_trainer.py"), "before the commit", "4")
            output, _ = process.communicate(timeout=PATIENCE)
            assert process.returncode == -signal.SIGKILL, output
            product.let_lease_end(job.id)
        product.train()
        outcomes.append(product.outcome(job.id))
        product.engine.dispose()
    assert outcomes[0] == outcomes[1]
    assert outcomes[1]["state"] == "succeeded"
