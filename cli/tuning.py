"""``fedmem tune``: what it is asked."""

from pathlib import Path
from typing import Annotated

import typer

from cli.options import (
    AsJson,
    ConfigFile,
    DataPath,
    ExperimentName,
    Overrides,
    Workers,
    experiment_folder,
    with_workers,
)
from cli.reading import Reading, with_reading

DEFAULT = Path("runs/tuning")


@with_reading
def tune(
    data: DataPath,
    config: ConfigFile = None,
    overrides: Overrides = None,
    space: Annotated[
        str,
        typer.Option(
            metavar="NAME|FILE",
            help="What is searched: fedmem, original (the description's six settings), or a YAML file of "
            "lists of values, and ranges {low: .., high: .., log: true}, by setting.",
        ),
    ] = "fedmem",
    trials: Annotated[int, typer.Option(min=1, help="Trials of the study in all, those of earlier calls too.")] = 20,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after this long; the same command continues.")
    ] = None,
    name: ExperimentName = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The study: study.db, study.json, best.yaml.", show_default=str(DEFAULT)),
    ] = None,
    workers: Workers = None,
    *,
    reading: Reading,
    as_json: AsJson = False,
) -> None:
    """Search settings by validation NDCG@10, never by test, and print the best configuration as YAML.

    The first trial is the configuration itself, where the space holds it. Trials below the median of the others are
    pruned. All get as many client updates. Ctrl-C, or a kill, keeps what is done; the same command continues.
    """
    from cli.search import run_search
    from fedmem.config_reader import load_config
    from fedmem.data.formats import load_dataset
    from fedmem.tuning.search_space import SearchSpace

    folder = experiment_folder(name, out, DEFAULT)
    loaded = load_config(config, with_workers(overrides, workers))
    searched = SearchSpace.named(space, loaded)
    dataset = load_dataset(data, min_sequence_length=loaded.data.min_sequence_length, **reading.arguments())
    run_search(searched, dataset, folder, trials, minutes, as_json=as_json)
