"""Privacy: what crossed the network, what it can betray, and what is not protected yet."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.clients import total_traffic_chart
from dashboard.components.drawings import panel
from dashboard.components.job_header import job_header
from dashboard.components.leak_meter import leak_meter
from dashboard.components.live import JobView, live_job
from dashboard.components.states import waiting_for_rounds
from dashboard.components.tables import words_table
from dashboard.words import sizes, state_of
from fedmem.config import ExperimentConfig
from fedmem.contracts import RoundMetrics
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
    "Transitions, what followed what, cross only in sums over the clients of a round; but a table of transitions may "
    "hold rare pairs, which a single client gave. Here the clients are simulated, so that their histories lie in this "
    "installation's database all the same."
)
MISSING = (
    "**No noise on metrics, and on updates, prototypes and transitions only with a budget.** Without one they leave "
    "a client as they are: ε spent on them is not zero, it is unbounded. Weights can have a budget "
    "(privacy.weights_epsilon), prototypes beside them (privacy.prototypes_epsilon) and the table of transitions "
    "(privacy.transitions_epsilon). Metrics of training, validations and the test are exact unless they have one, too "
    "(privacy.metrics_epsilon).",
    "**Secure sums are off unless a job sets secure_sums.enabled.** With them the server's code reads masked words and "
    "their sums alone; without, it could read a client's update. A sum over few clients still betrays them.",
    "**No sum over a network.** Clients are simulated on one machine, and their secrets are drawn from the job's seed.",
)


def privacy() -> None:
    """Show the ledger of a job, and an honest list of what is not there."""
    st.title("Privacy")
    st.markdown(NEVER)
    live_job(_draw)
    _missing()


def _draw(view: JobView) -> None:
    job_header(view)
    if not view.trained:
        waiting_for_rounds(state_of(view.job))
        return
    st.subheader("The ledger: what was sent")
    words_table(_ledger(view.trained))
    st.caption(
        "↓ to the clients, ↑ to the server; per client in the last round with any. Counted on the serialized messages. "
        "1 KB is 1,000 bytes; weights are sent whole, never by changed rows."
    )
    panel("Everything sent so far", total_traffic_chart(view.trained), "privacy-total")
    for sentence in spent_of(view.trained[-1], view.job.config):
        st.info(sentence)
    leak_meter(view.job)


def spent_of(latest: RoundMetrics, config: ExperimentConfig) -> list[str]:
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
        said.append(f"The table of transitions has a budget, and has {when}, once, with noise.")
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


def _missing() -> None:
    st.subheader("What is not protected yet")
    st.warning("\n\n".join(MISSING), icon=":material/gpp_maybe:")


if __name__ == "__main__":
    privacy()
