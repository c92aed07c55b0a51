"""Clients: who takes part, how their losses spread, and what crosses the network."""

import streamlit as st

from dashboard.charts.clients import client_loss_chart, participation_chart, total_traffic_chart, traffic_chart
from dashboard.components.drawings import panel
from dashboard.components.job_header import job_header
from dashboard.components.live import JobView, live_job
from dashboard.components.states import waiting_for_rounds
from dashboard.words import size, state_of
from fedmem.contracts import RoundMetrics
from fedmem.contracts.traffic import bytes_of_training


def clients() -> None:
    """Show everything about the clients that the server may know: sums and quantiles, no client by name."""
    st.title("Clients")
    live_job(_draw)


def _draw(view: JobView) -> None:
    job_header(view)
    if not view.trained:
        waiting_for_rounds(state_of(view.job))
        return
    _figures(view)
    if not view.job.config.clients_here:
        st.caption(nodes_of(view.trained[-1]))
    rounds, transitions = view.trained, view.job.config.uses_transitions
    left, right = st.columns(2)
    with left:
        panel("Participation", participation_chart(rounds), "clients-participation")
    with right:
        panel("Losses of the clients", client_loss_chart(rounds), "clients-loss", _SPREAD)
    left, right = st.columns(2)
    with left:
        panel("Sent to a client", traffic_chart(rounds, "down"), "clients-down")
    with right:
        panel("Sent by a client", traffic_chart(rounds, "up"), "clients-up")
    panel("Everything sent so far", total_traffic_chart(view.trained), "clients-total")
    if transitions:
        st.caption(TRANSITIONS)


_SPREAD = (
    "The line is the median client; the dark band holds the middle half, the light one nine tenths of the clients."
)


TRANSITIONS = (
    "Transitions cross only in sums over the clients of a round, once per interaction; their table goes to the clients "
    "that validate. A table of transitions may hold rare pairs, which a single client gave."
)


def _figures(view: JobView) -> None:
    metrics = view.trained[-1].metrics
    last, up = metrics.get("train", {}), bytes_of_training(metrics, "up")
    places = st.columns(4)
    places[0].metric("Clients in the last round", f"{last.get('clients', 0.0):.0f}")
    places[1].metric("To a client, per round", size(bytes_of_training(metrics, "down")))
    places[2].metric("From a client, per round", size(up))
    if view.job.config.uses_prototypes:
        prototypes = last.get("bytes_up_prototypes", 0.0)
        places[3].metric("Of that, prototypes", f"{100 * prototypes / up if up else 0:.1f} %")


def nodes_of(latest: RoundMetrics) -> str:
    """Say how the nodes of other owners did in a round."""
    train = latest.metrics.get("train", {})
    answered, missing, refused = (train.get(name, 0.0) for name in ("nodes", "nodes_missing", "nodes_refused"))
    return (
        f"The clients are at other owners' nodes. In round {latest.round}, {answered:.0f} of {answered + missing:.0f} "
        f"nodes answered in time; answers refused: {refused:.0f}, by name in the job's log."
    )


if __name__ == "__main__":
    clients()
