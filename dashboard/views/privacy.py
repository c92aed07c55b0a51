"""Privacy: what crossed the network, what it can betray, and what is not protected yet."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.clients import total_traffic_chart
from dashboard.components.drawings import panel
from dashboard.components.job_choice import chosen_job
from dashboard.components.job_header import job_header
from dashboard.components.leak_meter import leak_meter
from dashboard.components.live import JobView, live
from dashboard.components.states import no_job_yet, waiting_for_rounds
from dashboard.components.tables import words_table
from dashboard.words import as_sentence, sizes, state_of
from fedmem.config import ExperimentConfig
from fedmem.contracts import RoundMetrics, told_of_nodes
from fedmem.contracts.traffic import Direction, bytes_each, bytes_sent

LEDGER: dict[tuple[Direction, str], tuple[str, str]] = {
    ("down", "weights"): ("↓ Parameters of the model", "The same for every client"),
    ("down", "prototypes"): ("↓ Global prototypes", "The same for every client"),
    ("up", "weights"): ("↑ Change of the parameters", "Rows of items can betray the history"),
    ("up", "prototypes"): ("↑ Prototypes of the memory", "A small cluster can betray an item"),
    ("down", "transitions"): ("↓ Table of transitions, to clients that validate", "It may hold rare pairs of items"),
    ("up", "transitions"): ("↑ New transitions, in a sum", "A pair that only one client has"),
    ("down", "keys"): ("↓ Public keys and sealed shares of secure sums", "Nothing"),
    ("up", "keys"): ("↑ Keys, shares and masked metrics of secure sums", "Nothing but their sum"),
}
OPTIONAL = "keys"  # a part that only jobs with secure sums have
NEVER = (
    "Between a client and the server cross only the kinds of messages below: no history and no entry of a memory. "
    "Transitions, what followed what, cross only in sums over clients; but a table of transitions may hold rare pairs, "
    "which a single client gave."
)
SIMULATED = "The clients are simulated here, so that their histories lie in this installation's database all the same."
AT_NODES = "The clients are on their owners' machines, where their histories and memories stay."
NO_NOISE = (
    "**No noise on metrics, and on updates, prototypes and transitions only with a budget.** Without one they leave "
    "a client as they are: ε spent on them is not zero, it is unbounded. Weights can have a budget "
    "(privacy.weights_epsilon), prototypes beside them (privacy.prototypes_epsilon) and the table of transitions "
    "(privacy.transitions_epsilon). Metrics of training, validations and the test are exact unless they have one, too "
    "(privacy.metrics_epsilon)."
)
NO_SUMS = (
    "**Secure sums are off unless a job sets secure_sums.enabled.** With them the server's code reads masked words and "
    "their sums alone; without, it could read {whose}. A sum over few clients still betrays them."
)
NO_NETWORK = (
    "**These secure sums are of a simulation.** The server's code reads masked words and their sums alone, but clients "
    "are on one machine, and their secrets are drawn from the job's seed. A sum over few clients still betrays them."
)
FEW_NODES = (
    "**Secure sums are over {least} nodes or more.** Nodes mask what they send with one another, by secrets of their "
    "own. It does not hold against a server that makes up nodes or replaces keys, and a sum over few nodes says what "
    "these hold together."
)
NO_NODE = "**A node sees its own users.** It adds up in the clear what its users' clients make."


def privacy() -> None:
    """Show the ledger of a job, and an honest list of what is not there."""
    st.title("Privacy")
    st.markdown(NEVER)
    if job := chosen_job():
        live(job, _draw)
    else:
        no_job_yet()
        _missing(ExperimentConfig())


def _draw(view: JobView) -> None:
    job_header(view)
    st.markdown(_place(view.job.config))
    if view.trained:
        _crossed(view)
    else:
        waiting_for_rounds(state_of(view.job))
    _missing(view.job.config)


def _place(config: ExperimentConfig) -> str:
    """Say where a job's clients are."""
    if config.clients_here:
        return SIMULATED
    return f"{AT_NODES} {as_sentence(told_of_nodes(masked=config.secure_sums.enabled))}."


def _crossed(view: JobView) -> None:
    st.subheader("The ledger: what was sent")
    words_table(_ledger(view.trained))
    st.caption(
        "↓ to the clients, ↑ to the server; per client in the last round with any. Counted on the serialized messages. "
        "1 KB is 1,000 bytes; weights are sent whole, never by changed rows."
    )
    panel("Everything sent so far", total_traffic_chart(view.trained), "privacy-total")
    for sentence in spent_of(view.trained[-1], view.job.config, view.job.best_round):
        st.info(sentence)
    leak_meter(view.job)


def spent_of(latest: RoundMetrics, config: ExperimentConfig, best_round: int | None = None) -> list[str]:
    """Say what is spent of budgets for weights, prototypes, metrics and the table of transitions, if there are any."""
    found, said = latest.metrics.get("train", {}), []
    weights, table = found.get("epsilon_weights"), found.get("epsilon_transitions")
    if weights is not None:
        most = config.privacy.weights_epsilon
        of = "" if most is None else f" of {most:g}"
        said.append(
            f"The weights have spent ε = {weights:.3g}{of} at δ = {config.delta_each:g} for a user: updates are "
            "clipped, their sums get noise, and each client is drawn by itself."
        )
    if prototypes := found.get("epsilon_prototypes"):
        said.append(f"The prototypes have spent ε = {prototypes:.3g} beside it, by clipping and noise of their own.")
    if metrics := found.get("epsilon_metrics"):
        said.append(
            f"Metrics have spent ε = {metrics:.3g}: none of training are sent, and evaluations get noise, which their "
            "standard errors count."
        )
    if table is not None:
        when = f"spent ε = {table:g}: it has been released" if table else "spent nothing yet: it is released later"
        before = bool(table and best_round) and (best_round or 0) <= config.release_round
        without = f" The best model so far, of round {best_round}, is from before and has none of it." if before else ""
        said.append(f"The table of transitions has a budget, and has {when}, once, with noise.{without}")
    return said


def _ledger(rounds: Sequence[RoundMetrics]) -> list[dict[str, str]]:
    rows = []
    for kind, (what, risk) in LEDGER.items():
        each = [found for r in rounds if (found := bytes_each(r.metrics, *kind))] or [0.0]
        if kind[1] == OPTIONAL and not each[-1]:
            continue
        rows.append((what, each[-1], sum(bytes_sent(r.metrics, *kind) for r in rounds), risk))
    whats, each_client, all_so_far, risks = zip(*rows, strict=True)
    names = ("What", "Per client", "All so far", "What it may betray")
    columns = (whats, sizes(each_client), sizes(all_so_far), risks)
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]


def _missing(config: ExperimentConfig) -> None:
    st.subheader("What is not protected yet")
    st.warning("\n\n".join(missing(config)), icon=":material/gpp_maybe:")


def missing(config: ExperimentConfig) -> list[str]:
    """Say what of a job is not protected, by where its clients are and how they are added up."""
    secure = config.secure_sums.enabled
    if config.clients_here:
        return [NO_NOISE, NO_NETWORK if secure else NO_SUMS.format(whose="a client's update")]
    sums = FEW_NODES.format(least=config.flower.minimum_nodes) if secure else NO_SUMS.format(whose="each node's sum")
    return [NO_NOISE, sums, NO_NODE]


if __name__ == "__main__":
    privacy()
