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
    from fedmem.rungs import Rung

VARIED = "fedmem_full"
DEFAULT = Path("runs/ablation")
EVERYTHING = "all"
MOST_SEEDS = 20


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
        str | None,
        typer.Option(
            metavar="N or N,N",
            help="How many, from the configuration's on: 3 is 42, 43 and 44. Or which: 42,44; a single one with its "
            "comma: 7, is seed 7 alone. Default the configuration's alone.",
        ),
    ] = None,
    rungs: Annotated[
        str | None,
        typer.Option(
            metavar="NAME,NAME",
            help="Some of the ladder, which is the default: sasrec, centralised, transitions, fedmem_no_proto, "
            "fedmem_no_contrast, fedmem_full; and of the controls: fedavg_original, no_memory, no_text, "
            "no_transitions, random_memory, last_memory; or all, for both.",
        ),
    ] = None,
    vary: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE,VALUE",
            help="Instead of the ladder fedmem_full alone, or the one that --rungs names, and it with one setting "
            "changed: model.moe_num_heads=1,4. Repeatable.",
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

    The rungs differ by switches of the configuration's section ablation; --rungs
    all adds the controls. Ctrl-C stops; the same call continues.
    """
    from cli.ladder import run_ablation
    from fedmem.config_reader import load_config
    from fedmem.data.formats import load_dataset
    from fedmem.rungs import variants

    folder = experiment_folder(name, out, DEFAULT)
    loaded = load_config(config, with_workers(with_cold_users(overrides, cold_users), workers))
    chosen = rungs_of(VARIED if vary and rungs is None else rungs)
    base = chosen[0] if len(chosen) == 1 else rungs_of(VARIED)[0]
    chosen += variants(loaded, changes_of(vary or ()), base)
    drawn = seeds_of(seeds, loaded.seed)
    dataset = load_dataset(data, min_sequence_length=loaded.data.min_sequence_length, **reading.arguments())
    run_ablation(loaded, dataset, folder, chosen, drawn, cold_items, as_json=as_json)


def with_cold_users(overrides: list[str] | None, share: float | None) -> list[str]:
    """Add to the overrides what ``--cold-users`` is short for."""
    if share is not None and not 0 <= share < 1:
        raise ConfigError(f"--cold-users {share:g}: expected a share of at least 0 and below 1, e.g. .1.")
    return [*(overrides or ()), *([] if share is None else [f"data.cold_user_fraction={share}"])]


def rungs_of(names: str | None) -> "list[Rung]":
    """Return the named rungs and controls, separated by commas, in a table's order; the ladder for None."""
    from fedmem.rungs import LADDER, RUNGS

    if names is None:
        return list(LADDER)
    known = [rung.name for rung in RUNGS]
    asked = [name.strip() for name in names.split(",")]
    for name in asked:
        if name not in (*known, EVERYTHING):
            raise ConfigError(f"--rungs: there is no rung {name!r}; choose from {', '.join(known)}, or {EVERYTHING}.")
    return [rung for rung in RUNGS if rung.name in asked or EVERYTHING in asked]


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
    """Return the named seeds, each once; without a comma so many, from the default on; for None the default.

    Raises:
        ConfigError: if it is neither, or a number alone that is meant as a seed.
    """
    if numbers is None:
        return [default]
    first, comma, rest = numbers.partition(",")
    seeds = [number.strip() for number in (first, *(rest.split(",") if rest.strip() else ()))]
    if not all(seed.isascii() and seed.isdecimal() for seed in seeds):
        raise ConfigError(
            f"--seeds {numbers!r}: expected how many, e.g. 3, or whole numbers separated by commas, e.g. 42,43."
        )
    if comma:
        return list(dict.fromkeys(map(int, seeds)))
    if not 1 <= (count := int(first)) <= MOST_SEEDS:
        raise ConfigError(
            f"--seeds {numbers}: a number alone says how many, 1 to {MOST_SEEDS}. For seed {numbers} alone write "
            f"--seeds {numbers}, with a comma."
        )
    return list(range(default, default + count))
