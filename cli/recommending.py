"""``fedmem recommend``: for one user on the screen, for all users into a file."""

import csv
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from cli.options import AsJson, RunDir
from cli.screen import answer_json, answers, notes, stages
from fedmem.errors import DataError
from fedmem.modality import Modality

if TYPE_CHECKING:
    from fedmem.contracts import ScoreParts
    from fedmem.data.interactions import Item
    from fedmem.serving import Recommender

LAST_SHOWN = 5
BATCH = 256
REASONS = 3  # items of the history by title
MODALITIES = {modality.value: f"memory by {modality.label.lower()}" for modality in Modality}


def recommend(
    run: RunDir,
    user: Annotated[str | None, typer.Option("--user", "-u", help="A user id of the data set.")] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many items.")] = 10,
    all_users: Annotated[bool, typer.Option("--all-users", help="Every user, into --out.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="CSV: user_id, rank, item_id, score.")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="With each score, what adds up to it.")] = False,
    as_json: AsJson = False,
) -> None:
    """Recommend unseen items from the best model of a run, by title."""
    if all_users == (user is not None):
        raise typer.BadParameter("give either --user ID or --all-users --out FILE")
    if (all_users and (as_json or explain)) or (user is not None and out is not None):
        raise typer.BadParameter("--json and --explain go with --user, and --out with --all-users")
    if user is not None:
        for_one(run, user, k, explain=explain, as_json=as_json)
    elif out is None:
        raise typer.BadParameter("--all-users needs --out FILE")
    else:
        for_all(run, k, out)


def for_one(run: Path, user_id: str, k: int, *, explain: bool, as_json: bool) -> None:
    """Print k recommendations with titles beside what the user chose last; an unknown user is an error here."""
    from fedmem.serving import Question, Recommender, best_of

    recommender = Recommender.load_to_answer(run)
    user = recommender.dataset.vocabulary.user_index(user_id)
    answer = recommender.answer(Question(user_id, selection=best_of(k).model_copy(update={"explain": explain})))
    if as_json:
        answer_json(answer.response(user_id).model_dump(mode="json"))
        return
    history = recommender.dataset.history(user)
    last = [recommender.dataset.items[int(i) - 1] for i in history[-LAST_SHOWN:]]
    answers.print(f"{user_id} last chose: {'; '.join(map(title, last)) or 'nothing yet'}")
    table = Table(title=f"for {user_id} ({answer.strategy}, {answer.model_version}, round {answer.round})")
    for column, justify in (("#", "right"), ("title", "left"), ("genres", "left"), ("score", "right")):
        table.add_column(column, justify=justify)  # type: ignore[arg-type]
    if explain:
        table.add_column("made of")
    for rank, scored in enumerate(answer.items, start=1):
        made_of = [] if scored.parts is None else [reasons(scored.parts)]
        table.add_row(str(rank), title(scored.item), ", ".join(scored.item.genres), f"{scored.score:.2f}", *made_of)
    answers.print(table)


def reasons(parts: "ScoreParts") -> str:
    """List what adds up to a score, a line each: the items of the history by title, then the parts of the model."""
    named = [(f"because of {part.title}", part.score) for part in parts.remembered[:REASONS]]
    summands = parts.summands()
    others = summands.pop("remembered") - sum(score for _, score in named)
    named += [("because of other items", others), *((MODALITIES.get(name, name), s) for name, s in summands.items())]
    return "\n".join(f"{score:+.2f} {name}" for name, score in named if round(score, 2))


def title(item: "Item") -> str:
    """Return the title with the year, unless it is in the title already; the id if no title is known."""
    year = f" ({item.year})" if item.year and f"({item.year})" not in item.label else ""
    return f"{item.label}{year}"


def for_all(run: Path, k: int, out: Path) -> None:
    """Write user_id, rank, item_id, score for every user, whole or not at all."""
    from fedmem.serving import Recommender

    recommender = Recommender.load_to_answer(run)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        with beside.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["user_id", "rank", "item_id", "score"])
            writer.writerows(_rows(recommender, k))
        beside.replace(out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written ({error.strerror}). Choose another --out.") from None
    finally:
        beside.unlink(missing_ok=True)
    notes.print(f"{recommender.dataset.num_users} users in {out}")


def _rows(recommender: "Recommender", k: int) -> Iterator[tuple[str, int, str, float]]:
    users = range(recommender.dataset.num_users)
    with stages() as progress:
        for batch in _batched(users):
            for user, answer in zip(batch, recommender.recommend_users(batch, k), strict=True):
                user_id = recommender.dataset.vocabulary.user_id(user)
                for rank, scored in enumerate(answer.items, start=1):
                    yield user_id, rank, scored.item.item_id, scored.score
            progress("recommending", batch[-1] + 1, len(users))


def _batched(users: range) -> Iterable[range]:
    return (users[first : first + BATCH] for first in range(0, len(users), BATCH))
