"""``fedmem ablate``: what it is asked."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from fedmem.errors import ConfigError

if TYPE_CHECKING:
    from fedmem.ablation import Rung

VARIED = "fedmem_full"
DEFAULT = Path("runs/ablation")


@with_reading
def ablate(
    data: DataPath,
    config: ConfigFile = None,
    overrides: Overrides = None,
    name: ExperimentName = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Receives a run per rung and seed, and ablation.json.", show_default=str(DEFAULT)
        ),
    ] = None,
    seeds: Annotated[
        str | None, typer.Option(metavar="N,N", help="A ladder for each; default the configuration's.")
    ] = None,
    rungs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Some of sasrec, centralised, transitions, fedmem_no_proto, fedmem_no_contrast, fedmem_full; "
            "default all.",
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,VALUE",
            help="Instead of the ladder fedmem_full alone, and it with one setting changed: "
            "model.moe_num_heads=1,4. Repeatable.",
        ),
    ] = None,
    cold_users: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            help="Keep this share of the users, .1 is usual, out of training, and show them with 0 to 10 interactions; "
            "short for the setting data.cold_user_fraction.",
        ),
    ] = None,
    cold_items: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            help="Take this share of the items out of the data, and rank them among themselves by what a catalogue "
            "says of them.",
        ),
    ] = 0.0,
    workers: Workers = None,
    *,
    reading: Reading,
    as_json: AsJson = False,
) -> None:
    """Train the ladder, from centralised SASRec to FedMem-Full, and print one Markdown table with the baselines.

    The rungs differ by switches of the configuration's section ablation. Ctrl-C stops; the same call continues.
    """
    from cli.ladder import run_ablation
    from fedmem.ablation import variants
    from fedmem.config_reader import load_config
    from fedmem.data.formats import load_dataset

    folder = experiment_folder(name, out, DEFAULT)
    loaded = load_config(config, with_workers(with_cold_users(overrides, cold_users), workers))
    chosen = [*rungs_of(VARIED if vary and rungs is None else rungs), *variants(loaded, changes_of(vary or ()))]
    drawn = seeds_of(seeds, loaded.seed)
    dataset = load_dataset(data, min_sequence_length=loaded.data.min_sequence_length, **reading.arguments())
    run_ablation(loaded, dataset, folder, chosen, drawn, cold_items, as_json=as_json)


def with_cold_users(overrides: list[str] | None, share: float | None) -> list[str]:
    """Add to the overrides what ``--cold-users`` is short for."""
    if share is not None and not 0 <= share < 1:
        raise ConfigError(f"--cold-users {share:g}: expected a share of at least 0 and below 1, e.g. .1.")
    return [*(overrides or ()), *([] if share is None else [f"data.cold_user_fraction={share}"])]


def rungs_of(names: str | None) -> "list[Rung]":
    """Return the named rungs, separated by commas, in the ladder's order; all of them for None."""
    from fedmem.ablation import LADDER

    by_name = {rung.name: rung for rung in LADDER}
    asked = by_name.keys() if names is None else [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in by_name:
            raise ConfigError(f"--rungs: there is no rung {name!r}; choose from {', '.join(by_name)}.")
    return [rung for rung in LADDER if rung.name in asked]


def changes_of(asked: Sequence[str]) -> list[tuple[str, list[object]]]:
    """Return the settings to change and their values, of ``KEY=VALUE,VALUE`` each; the values are YAML."""
    from fedmem.strict_yaml import parse_yaml

    found = []
    for one in asked:
        key, equals, values = one.partition("=")
        if not (equals and key.strip() and values.strip()):
            raise ConfigError(f"--vary {one!r}: expected KEY=VALUE,VALUE, e.g. model.fusion_method=learned,adaptive.")
        parsed = [parse_yaml(value, f"--vary {one!r}") for value in values.split(",")]
        if any(isinstance(value, list | dict) for value in parsed):
            raise ConfigError(f"--vary {one!r}: expected plain values, separated by commas.")
        found.append((key.strip(), list(dict.fromkeys(parsed))))
    return found


def seeds_of(numbers: str | None, default: int) -> list[int]:
    """Return the named seeds, separated by commas, each once; the configuration's for None."""
    if numbers is None:
        return [default]
    seeds = [number.strip() for number in numbers.split(",")]
    if not all(seed.isdecimal() for seed in seeds):
        raise ConfigError(f"--seeds {numbers!r}: expected whole numbers separated by commas, e.g. 42,43.")
    return list(dict.fromkeys(map(int, seeds)))
