"""Schedules: when models go on with the newest data by themselves, what became of that last, and new ones."""

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import streamlit as st

from dashboard.components.confirmation import Confirmation
from dashboard.components.connection import client
from dashboard.components.new_schedule import new_schedule
from dashboard.components.states import backend_needed, empty
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from dashboard.words import ago, as_sentence
from fedmem.contracts import Schedule, ScheduleUpdate

_TROUBLE = "schedule-trouble"
REMOVAL = Confirmation(
    "remove-schedule",
    "Remove the schedule?",
    "Remove it",
    lambda number: client().remove_schedule(int(number)),
    destroys=True,
)


def schedules() -> None:
    """Show every schedule with what can be done about it, and the form for a new one."""
    st.title("Schedules")
    with backend_needed():
        names = [dataset.name for dataset in client().datasets().datasets]
        if not names:
            empty(
                "No data set yet",
                "A schedule lets a data set's model go on with its newest data. Import one: `fedmem data import PATH`, "
                "or the demo: `fedmem up`.",
                ":material/schedule:",
            )
            return
        found = client().schedules().schedules
        if not found:
            empty(
                "No schedule yet",
                "With one, the model in service goes on with the newest data again and again, every night say, and "
                "serves if it is not worse. Add the first one below.",
                ":material/schedule:",
            )
        for one in found:
            _card(one)
        if _TROUBLE in st.session_state:
            st.error(in_markdown(st.session_state[_TROUBLE]), icon=":material/error:")
        _ask_before_removal(found)
        new_schedule(names)


def _card(one: Schedule) -> None:
    with st.container(border=True):
        st.markdown(f"**{in_markdown(one.dataset)}**")
        st.markdown(f"{in_markdown(one.cron)} ({in_markdown(one.timezone)}), {one.rounds:,} rounds each time")
        st.caption(f"Schedule {one.id}. Next: {_next(one)}. {_last(one)}")
        if one.trouble is not None:
            st.warning(in_markdown(as_sentence(one.trouble)), icon=":material/warning:")
        with st.container(horizontal=True):
            _button("Run now", "play_arrow", "run", one, lambda: client().run_schedule(one.id))
            if one.paused:
                _button("Resume", "resume", "resume", one, lambda: _paused(one, paused=False))
            else:
                _button("Pause", "pause", "pause", one, lambda: _paused(one, paused=True))
            st.button(
                "Remove",
                icon=":material/delete:",
                key=f"remove-schedule-{one.id}",
                on_click=REMOVAL.ask,
                args=(str(one.id),),
            )


def _next(one: Schedule) -> str:
    if one.paused:
        return "paused"
    if one.next_at is None:
        return "never"
    due = "due since " if one.next_at <= datetime.now(UTC) else ""
    return due + in_markdown(f"{one.next_at.astimezone(_zone(one.timezone)):%a %d %b %Y, %H:%M %Z}")


def _zone(name: str) -> ZoneInfo:
    """Find a zone; UTC where this machine does not know it."""
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return ZoneInfo("UTC")


def _last(one: Schedule) -> str:
    if one.last_at is None:
        return "It has not run yet."
    job = "" if one.last_job is None else f" (job {one.last_job}, {one.last_job_state})"
    return f"Last: {ago(one.last_at)}{job}."


def _paused(one: Schedule, *, paused: bool) -> Schedule:
    return client().update_schedule(one.id, ScheduleUpdate(paused=paused))


def _button(label: str, icon: str, key: str, one: Schedule, act: Callable[[], object]) -> None:
    st.button(label, icon=f":material/{icon}:", key=f"{key}-schedule-{one.id}", on_click=_do, args=(act,))


def _do(act: Callable[[], object]) -> None:
    """Do it; what is wrong is said until the next thing is done."""
    st.session_state.pop(_TROUBLE, None)
    try:
        act()
    except BackendError as error:
        st.session_state[_TROUBLE] = str(error)


def _ask_before_removal(found: tuple[Schedule, ...]) -> None:
    asked = REMOVAL.about
    one = next((one for one in found if str(one.id) == asked), None)
    if one is not None:
        REMOVAL.draw(
            f"Schedule {one.id} of {in_markdown(one.dataset)} goes. Its jobs and models stay, and a job that is queued "
            "or running goes on."
        )


if __name__ == "__main__":
    schedules()
