"""The form for a new schedule."""

from collections.abc import Sequence
from typing import get_args

import streamlit as st

from dashboard.components.connection import client
from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError
from fedmem.contracts import ScheduleRequest
from fedmem.contracts.jobs import PromotionMode
from fedmem.contracts.schedules import ROUNDS
from fedmem.errors import ConfigError
from fedmem.recurrence import check_recurrence

_TROUBLE = "new-schedule-trouble"
NIGHTLY = "0 3 * * *"
PROMOTIONS: dict[PromotionMode | None, str] = {
    None: "As the trainer's setting says",
    "gate": "If it is not worse",
    "auto": "In any case",
    "manual": "Only by hand",
}
assert set(PROMOTIONS) == {None, *get_args(PromotionMode)}, "each way to serve has words"


def new_schedule(names: Sequence[str]) -> None:
    """Show the form; what it is refused for stays below it."""
    with st.form("new-schedule"):
        st.markdown("#### New schedule")
        first, second = st.columns(2), st.columns(3)
        first[0].selectbox("Data set", names, key="schedule-dataset")
        first[1].selectbox(
            "Serve the model", list(PROMOTIONS), key="schedule-promotion", format_func=PROMOTIONS.__getitem__
        )
        second[0].text_input(
            "When (cron)",
            NIGHTLY,
            key="schedule-cron",
            help="Minute, hour, day of the month, month, day of the week: `0 3 * * *` is every night at 3:00.",
        )
        second[1].text_input("Time zone", "UTC", key="schedule-timezone", help="Such as `Europe/Berlin`.")
        second[2].number_input(
            "Rounds each time",
            min_value=1,
            value=ROUNDS,
            key="schedule-rounds",
            help="For how many rounds the model in service goes on. Where none serves yet, the first job trains one "
            "with the defaults of a new job.",
        )
        st.form_submit_button("Add the schedule", type="primary", icon=":material/add:", on_click=_add)
    if _TROUBLE in st.session_state:
        st.error(in_markdown(st.session_state[_TROUBLE]), icon=":material/error:")


def _add() -> None:
    told = st.session_state
    told.pop(_TROUBLE, None)
    cron, timezone = told["schedule-cron"].strip(), told["schedule-timezone"].strip()
    try:
        check_recurrence(cron, timezone)
        client().create_schedule(
            ScheduleRequest(
                dataset=told["schedule-dataset"],
                cron=cron,
                timezone=timezone,
                rounds=told["schedule-rounds"],
                promotion=told["schedule-promotion"],
            )
        )
    except (ConfigError, BackendError) as error:
        told[_TROUBLE] = str(error)
