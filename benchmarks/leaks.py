"""What the leak meter finds: jobs of the method with and without secure sums, trained and then attacked.

    python -m benchmarks.leaks --data data/ml-100k [--folder runs/leaks]

By the command line alone, in a folder of its own: ``fedmem data import``, ``fedmem jobs start``, ``python -m trainer
--until-idle`` and ``fedmem audit N --attacks --json``. Each of ``JOBS`` on the data set and the demo; a folder that is
there is gone on with. Writes benchmarks/results/leaks-NAME.json and leaks-demo.json: the audits, by name.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.measure import FEDMEM, machine, write_result
from benchmarks.product import ROOT

ROUNDS = 150
SECURE = ("--set", "secure_sums.enabled=true")
# By name, the settings of a job, and the cohorts of which sums are attacked.
JOBS: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "complete": (("--config", "configs/fedmem_full.yaml"), (20,)),
    "complete, secure sums": (("--config", "configs/fedmem_full.yaml", *SECURE), (20, 50, 100)),
    "default": ((), (20,)),
}


def main() -> None:
    """Train and attack what is not there yet."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a data set beside the demo")
    parser.add_argument("--folder", type=Path, default=Path("runs/leaks"), help="where jobs and audits are kept")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    chosen = parser.parse_args()
    for data in (chosen.data.resolve(), None):
        name = "demo" if data is None else data.name
        kept = {"rounds": chosen.rounds, "audits": audits(chosen.folder.resolve(), name, data, chosen.rounds)}
        sys.stdout.write(f"kept in {write_result(f'leaks-{name}', {**kept, 'machine': machine()})}\n")


def audits(folder: Path, name: str, data: Path | None, rounds: int) -> dict[str, Any]:
    """Attack jobs on one data set, 100 clients of each."""
    product = Installation(folder / name)
    if data is None:
        data = folder / "catalogue"
        if not data.exists():
            product.run("data", "demo", "--out", str(data))
    product.run("data", "import", str(data), "--name", name)
    found = {}
    for number, (job, (settings, cohorts)) in enumerate(JOBS.items(), 1):
        length = ("--set", f"federated.num_rounds={rounds}", "--set", f"federated.patience={rounds}")
        if not (product.folder / "jobs" / str(number)).exists():
            product.run("jobs", "start", "--experiment", "--dataset", name, *settings, *length)
        product.train()
        for cohort in cohorts:
            found[f"{job}, sums over {cohort}"] = told = product.audit(number, cohort)
            sys.stdout.write(f"{name}, {job}, sums over {cohort}: {told}\n")
    return found


class Installation:
    """A database and a data folder of their own.

    Args:
        folder: for both.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        own = {"DATABASE_URL": f"sqlite:///{folder}/fedmem.db", "FEDMEM_DATA_DIR": str(folder)}
        self._environment = os.environ | own

    def run(self, *words: str) -> str:
        """Call ``fedmem``; what it prints."""
        return self._call(*FEDMEM, *words)

    def train(self) -> None:
        """Train what is queued."""
        self._call(sys.executable, "-m", "trainer", "--until-idle")

    def audit(self, job: int, cohort: int) -> dict[str, Any]:
        """Attack a job, once."""
        kept = self.folder / f"audit-{job}-{cohort}.json"
        if not kept.exists():
            told = self.run("audit", str(job), "--attacks", "--cohort", str(cohort), "--json")
            kept.write_text(told, encoding="utf-8")
        found: dict[str, Any] = json.loads(kept.read_text(encoding="utf-8"))
        return found

    def _call(self, *command: str) -> str:
        return subprocess.run(
            command, cwd=ROOT, env=self._environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout


if __name__ == "__main__":
    main()
