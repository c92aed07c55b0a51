"""``fedmem evaluate``: a run's best model beside the baselines, its controls, and its users who never trained."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cli.options import AsJson, RunDir
from cli.screen import answer_json, answers, notes

if TYPE_CHECKING:
    from cli.comparison import Comparison


def evaluate(
    run: RunDir,
    split: Annotated[Literal["test", "validation"], typer.Option(help="The target: last item, or last but one.")] = (
        "test"
    ),
    baselines: Annotated[bool, typer.Option(help="Chance, popularity, item-item counts and EASE beside it.")] = True,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="DIR", help="Another run on the same data, in the table and by paired differences. Repeatable."
        ),
    ] = None,
    controls: Annotated[bool, typer.Option("--controls", help="The same model with parts of its memory changed.")] = (
        False
    ),
    lists: Annotated[bool, typer.Option("--lists", help="Coverage, long-tail share and diversity of lists of 10.")] = (
        False
    ),
    groups: Annotated[
        bool,
        typer.Option("--groups", help="Thirds of the users by activity, and by how unlike the others' their taste is."),
    ] = False,
    negatives: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Rank among 100 stored negatives only, as some papers do; it reorders models. Drawn if not there.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank the whole catalogue for every user and print metrics with standard errors.

    Users who were kept out of training (train --set data.cold_user_fraction=.1)
    are in a second table, at 0 to 10 interactions. New items have to be out of
    the data before training: fedmem ablate --cold-items.
    """
    from cli.comparison import Questions, compare

    found = compare(run, Questions(split, beside or (), baselines, controls, lists, groups, negatives))
    if as_json:
        answer_json(found.record())
    else:
        _print(found)


def _print(found: "Comparison") -> None:
    from cli.comparison import LIST_LENGTH, TRAINED
    from fedmem.evaluation.report import (
        as_rich,
        cold_start_as_rich,
        differences_as_rich,
        groups_as_rich,
        values_as_rich,
    )

    sampled = ", among stored negatives only" if found.asked.negatives else ""
    title = f"{found.dataset}, {found.asked.split}, model of round {found.round}{sampled}"
    answers.print(as_rich(found.tables, title, answers.width))
    if found.repeated_targets:
        what = "never offered, so misses" if found.repeats == "hide" else "offered and ranked"
        notes.print(
            f"{found.repeated_targets:.1%} of the targets are items that their users took before: {what} "
            f"(data.repeats={found.repeats})"
        )
    shares = ", ".join(f"{part} {share:.1%}" for part, share in sorted(found.shares.items(), key=lambda one: -one[1]))
    notes.print(f"what puts its ten best items ahead of the mean one: {shares or 'nothing'}")
    if found.asked.compares:
        answers.print(differences_as_rich(found.tables, TRAINED))
    if found.lists:
        answers.print(values_as_rich(found.lists, f"lists of {LIST_LENGTH}"))
    for criterion in next(iter(found.groups.values()), {}):
        thirds = {name: by_criterion[criterion] for name, by_criterion in found.groups.items()}
        answers.print(groups_as_rich(thirds, f"thirds of the users by {criterion}"))
    if found.cold:
        users = f"{found.cold[0].table.num_users} users who never trained"
        answers.print(cold_start_as_rich(found.cold, f"{users}, n most recent interactions as input"))
