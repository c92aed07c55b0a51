"""The leak meter: what attacks on a job's messages find out, beside what guessing would."""

from http import HTTPStatus

import streamlit as st

from dashboard.components.connection import client
from dashboard.components.states import empty
from dashboard.components.tables import Bar, words_table
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError, RefusedError
from dashboard.words import as_sentence
from fedmem.contracts import NODES_ARE_NOT_RECORDED, Job, LeakReport

METER = (
    "{clients} clients took part once more after round {round}; each attack is judged by what they really hold. An AUC "
    "of .5 is chance, 1 is certainty."
)
MASKED = "Secure sums were on: of one client the server has masked words, and reads the sum over a cohort alone."


def leak_meter(job: Job) -> None:
    """Show each attack with its chance; or how to have them made."""
    st.subheader("The leak meter: what it betrays")
    if not job.config.clients_here:
        empty("Not measured over nodes", f"{as_sentence(NODES_ARE_NOT_RECORDED)}. docs/privacy.md says what crosses.")
        return
    try:
        report = client().leaks(job.id)
    except RefusedError as error:
        command = f"`fedmem audit {job.id} --attacks` measures what its messages betray, once it has ended."
        empty("Not measured yet", command if error.status == HTTPStatus.NOT_FOUND else in_markdown(as_sentence(error)))
    except BackendError as error:
        st.caption(in_markdown(error))
    else:
        _meter(report)


def _meter(report: LeakReport) -> None:
    words_table(
        [
            {
                "Found": Bar(leak.measured, f"{leak.measured:.3f}"),
                "What an attacker finds out": leak.what,
                "By chance": _number(leak.chance),
                "By popularity": _number(leak.popularity),
                "Measure": leak.measure,
            }
            for leak in report.leaks
        ]
    )
    said = METER.format(clients=report.clients, round=report.round)
    st.caption(f"{said} {MASKED}" if report.secure_sums else said)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
