"""A/B tests of a data set: what they show, how one is started and stopped."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.ab_tests import effects_chart
from dashboard.components.confirmation import Confirmation
from dashboard.components.connection import client
from dashboard.components.drawings import panel
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from dashboard.words import ago, counted
from fedmem.contracts import AbTest, ArmResult, ModelVersion

_SHARE = "ab-share"
HALF = 50  # per cent
INTERVAL = (
    "The 95 % interval holds however often it is looked at: a test may be stopped as soon as it leaves zero out. A "
    "fixed-horizon interval, looked at again and again, would call a third of all tests of the same model real."
)


def _start(version: str) -> object:
    return client().start_ab_test(version, st.session_state.get(_SHARE, HALF) / 100)


START = Confirmation("ab-start", "Start the A/B test?", "Start it", _start)
STOP = Confirmation("ab-stop", "Stop the A/B test?", "Stop it", lambda number: client().stop_ab_test(int(number)))


def ab_tests(dataset: str) -> None:
    """Show the data set's tests, the one that runs first, and offer to start or to stop one."""
    st.subheader("A/B tests")
    found = client().ab_tests(dataset).tests
    running = next((test for test in found if test.ended_at is None), None)
    if running is None:
        _offer(dataset)
    else:
        _running(running)
    if ended := [test for test in found if test.ended_at is not None]:
        words_table([_row(test) for test in ended])


def _running(test: AbTest) -> None:
    with st.container(border=True):
        st.markdown(f"**Test {test.id}**: {in_markdown(test.verdict)}")
        st.caption(
            f"{in_markdown(test.treatment.model_version)} answers {test.share:.0%} of the users since "
            f"{ago(test.started_at)}, {in_markdown(test.control.model_version)} the others. A user is judged "
            f"{test.attribution_hours:g} hours after the first noted answer. Meanwhile the models of finished jobs "
            "wait; putting any other model into service ends the test."
        )
        words_table([_arm("Control", test.control), _arm("Treatment", test.treatment)])
        if test.hits is not None and test.clicks is not None:
            chart = effects_chart([("Hits", test.hits), ("Clicks", test.clicks)])
            panel("Difference", chart, f"ab-test-{test.id}", INTERVAL)
        st.button("Stop", icon=":material/stop:", key="ab-stop", on_click=STOP.ask, args=(str(test.id),))
    if STOP.about == str(test.id):
        STOP.draw(
            f"From now on {in_markdown(test.control.model_version)} answers all users again. To take the other model "
            "instead, put it into service on the System page, which ends the test too."
        )


def _offer(dataset: str) -> None:
    others = to_try(client().models().models, dataset)
    if not others:
        st.caption(
            "A test compares the model in service with another of the data set; there is no other yet that differs."
        )
        return
    st.caption(
        "A test lets another model answer a share of the users, always the same ones, and compares what they do."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        version = st.selectbox("Model to try", others, key="ab-treatment", width=280)
        st.number_input("Share of the users, %", 1, 99, HALF, key=_SHARE, width=180)
        st.button("Start", icon=":material/call_split:", key="ab-start", on_click=START.ask, args=(version,))
    asked = START.about
    if asked is not None and asked in others:
        START.draw(
            f"{in_markdown(asked)} answers {st.session_state.get(_SHARE, HALF)} % of the users of "
            f"{in_markdown(dataset)} until the test is stopped. It is loaded and checked first, and no request fails "
            "meanwhile."
        )


def to_try(models: Sequence[ModelVersion], dataset: str) -> list[str]:
    """List what can be tried beside the model in service: kept ones of its data set that differ from it."""
    return [one.version for one in models if one.dataset == dataset and one.kept and not (one.active or one.equal)]


def _arm(name: str, arm: ArmResult) -> dict[str, str]:
    return {
        "Arm": name,
        "Model": arm.model_version,
        "Users judged": f"{arm.users:,}",
        "Waiting": f"{arm.waiting:,}",
        "With a hit": counted(arm.hits, arm.hit_rate),
        "With a click": counted(arm.clicks, arm.click_rate),
    }


def _row(test: AbTest) -> dict[str, str]:
    return {
        "Test": str(test.id),
        "Control": test.control.model_version,
        "Treatment": test.treatment.model_version,
        "Share": f"{test.share:.0%}",
        "Ended": "" if test.ended_at is None else ago(test.ended_at),
        "Why": test.ended_because or "",
        "Showed": test.verdict,
    }
