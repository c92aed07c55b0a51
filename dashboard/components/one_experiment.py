"""One experiment of the command line: an ablation's table with its differences, or a search's trials."""

from collections.abc import Mapping, Sequence

import streamlit as st

from dashboard.charts.drawing import Drawing
from dashboard.charts.experiments import Gap, Result, differences_chart, results_chart
from dashboard.charts.trials import trials_chart
from dashboard.components.drawings import panel
from dashboard.components.tables import Bar, words_table
from dashboard.plain_text import in_markdown
from dashboard.words import difference, duration, share
from fedmem.contracts import Ablation, Experiment, Measured, MeasuredModel, Tuning

SHOWN, NEW_USERS = ("HR@10", "NDCG@10"), "NDCG@10"
TABLE = (
    "Means over users and seeds ± the standard error over users, on the validation (Val.) and test items; the whole "
    "catalogue is ranked, seen items left out. Round: best / last of each seed. KB down / up: of a client in a round, "
    "on average. In the charts grey dots are baselines, and the dashed line is the strongest of them."
)
DIFFERENCES = (
    "By a paired bootstrap over the same test users and seeds. Blue: the 95 % interval leaves zero out. Of many "
    "comparisons one in twenty does so by chance."
)
SEARCH = (
    "Chosen on validation; test is never looked at, so the best one's value is a little too good. Pruned: below the "
    "median of the others at a validation."
)


def one_experiment(experiment: Experiment) -> None:
    """Show what an experiment holds, and what is missing."""
    if experiment.note is not None:
        icon = ":material/error:" if experiment.state == "damaged" else ":material/hourglass_empty:"
        st.warning(in_markdown(experiment.note), icon=icon)
    if experiment.ablation is not None:
        _ablation(experiment, experiment.ablation)
    if experiment.tuning is not None:
        _tuning(experiment, experiment.tuning)


def _ablation(experiment: Experiment, found: Ablation) -> None:
    seeds = ", ".join(map(str, found.seeds))
    st.caption(
        f"Configurations trained: {experiment.configurations}. Seeds: {seeds}. Users evaluated: {found.users:,}."
    )
    shown = _shown(found.models)
    words_table([_row(model, shown) for model in found.models])
    st.caption(TABLE)
    for place, metric in zip(st.columns(len(shown)), shown, strict=True):
        with place:
            panel(f"Test {metric}", _results(found.models, metric), f"ablation-{experiment.name}-{metric}")
    _lists(found.models)
    _new_users(found)
    _new_items(found)
    _differences(experiment.name, found, shown)


def _shown(models: Sequence[MeasuredModel]) -> list[str]:
    measured = models[0].test if models else {}
    return [metric for metric in SHOWN if metric in measured] or list(measured)[: len(SHOWN)]


def _row(model: MeasuredModel, shown: Sequence[str]) -> dict[str, str]:
    splits: Mapping[str, Mapping[str, Measured]] = {"Val.": model.validation, "Test": model.test}
    cells = {f"{short} {metric}": _cell(table.get(metric)) for short, table in splits.items() for metric in shown}
    pairs = zip(model.best_rounds, model.last_rounds, strict=True)
    sent = [model.bytes_down, model.bytes_up]
    return {
        "Model": model.name,
        **cells,
        "Round": ", ".join(f"{best} / {last}" for best, last in pairs),
        "KB down / up": " / ".join(f"{size / 1e3:,.1f}" for size in sent if size is not None),
        "Minutes": "" if model.minutes is None else f"{model.minutes:.1f}",
    }


def _cell(value: Measured | None) -> str:
    if value is None:
        return "–"
    return share(value.mean) + ("" if value.standard_error is None else f" ± {share(value.standard_error)}")


def _results(models: Sequence[MeasuredModel], metric: str) -> Drawing:
    found = [(model, model.test[metric]) for model in models if metric in model.test]
    results = [Result(model.name, value.mean, value.standard_error or 0.0, model.baseline) for model, value in found]
    return results_chart(results, metric, "Model (mean of seeds)")


def _lists(models: Sequence[MeasuredModel]) -> None:
    """Show what the recommended lists are like: accuracy alone hides a list of the head of the catalogue."""
    rows = [{"Model": model.name, **{n.capitalize(): share(v) for n, v in model.lists.items()}} for model in models]
    rows = [row for row in rows if len(row) > 1]
    if rows:
        st.markdown("**Lists of ten, on test**")
        words_table(rows)


def _new_users(found: Ablation) -> None:
    """Show users who never trained, by how much is known of them."""
    if not found.new_users:
        return
    st.markdown(f"**Users who never trained, test {NEW_USERS}, by interactions given**")
    rows = [
        {"Model": row.name, **{f"n = {n}": _cell(table.get(NEW_USERS)) for n, table in row.by_interactions.items()}}
        for row in found.new_users
    ]
    words_table(rows)


def _new_items(found: Ablation) -> None:
    """Show items that nothing was trained with, and whether a model is better than a regression on their genres."""
    if not found.new_items:
        return
    st.markdown("**New items, ranked among themselves for each user who took some**")
    shown = list(dict.fromkeys(metric for row in found.new_items for metric in row.metrics))
    gaps = {(row.model, row.metric): row for row in found.differences if row.metric in shown}
    rows = []
    for row in found.new_items:
        cells = {"Model": row.name, **{metric: _cell(row.metrics.get(metric)) for metric in shown}}
        for metric in shown:
            if gap := gaps.get((row.name, metric)):
                mean, low, high = map(difference, (gap.mean, gap.low, gap.high))
                cells[f"Minus {gap.other}"] = f"{mean} ({low} to {high})"
        rows.append(cells)
    words_table(rows)


def _differences(name: str, found: Ablation, shown: Sequence[str]) -> None:
    compared = {name for row in found.differences if row.metric in shown for name in (row.model, row.other)}
    names = [model.name for model in found.models if model.name in compared]
    if not names:
        return
    st.markdown("**What is a real difference**")
    model = st.selectbox("Differences of", names, index=len(names) - 1, key=f"differences-{name}")
    for place, metric in zip(st.columns(len(shown)), shown, strict=True):
        drawn = differences_chart(_gaps(found, model, metric), metric)
        with place:
            panel(f"{in_markdown(model)} minus the other, {metric}", drawn, f"differences-{name}-{metric}")
    st.caption(DIFFERENCES)


def _gaps(found: Ablation, model: str, metric: str) -> list[Gap]:
    rows = [row for row in found.differences if row.metric == metric]
    later = [Gap(row.other, row.mean, row.low, row.high, row.p) for row in rows if row.model == model]
    return later + [Gap(row.model, -row.mean, -row.high, -row.low, row.p) for row in rows if row.other == model]


def _tuning(experiment: Experiment, found: Tuning) -> None:
    best = next((trial for trial in found.trials if trial.number == found.best), None)
    reached = "" if best is None or best.value is None else f" Best: trial {best.number}, {share(best.value)}."
    st.caption(
        f"Trials: {len(found.trials)} of {found.planned or len(found.trials)}. Configurations tried: "
        f"{experiment.configurations}, in {duration(found.seconds)}.{reached}"
    )
    panel(f"Validation {found.metric} by trial", trials_chart(found), f"trials-{experiment.name}", SEARCH)
    _importance(found)
    words_table(_trials(found))
    if experiment.state != "damaged" and best is not None:
        st.caption(f"Next: `fedmem train --config` with best.yaml of the folder {in_markdown(experiment.name)}.")


def _importance(found: Tuning) -> None:
    st.markdown("**Which settings matter**")
    if not found.importance:
        st.caption("That is told once five trials have gone to their end.")
        return
    words_table([{"Setting": name, "Share": Bar(value, f"{value:.2f}")} for name, value in found.importance.items()])
    st.caption("The share that each setting makes in the variance of the values, of the trials that went to their end.")


def _trials(found: Tuning) -> list[dict[str, str]]:
    """List the trials, best first."""
    ranked = sorted(found.trials, key=lambda trial: -(trial.value or 0.0))
    names = dict.fromkeys(name for trial in ranked for name in trial.params)
    return [
        {
            "Trial": str(trial.number),
            "State": trial.state if trial.reason is None else f"{trial.state}: {trial.reason}",
            f"Val. {found.metric}": "–" if trial.value is None else f"{trial.value:.4f}",
            **{name.rpartition(".")[2]: _value(trial.params.get(name)) for name in names},
        }
        for trial in ranked
    ]


def _value(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else str(value)
