"""Online: what became of the answers that users got, by model, strategy and position, and in A/B tests."""

from collections.abc import Sequence

import streamlit as st

from dashboard.charts.online import rates_chart
from dashboard.components.ab_tests import ab_tests
from dashboard.components.connection import client
from dashboard.components.drawings import panel
from dashboard.components.model_choice import chosen_model
from dashboard.components.states import backend_needed, empty, no_model_yet
from dashboard.components.tables import words_table
from dashboard.plain_text import in_markdown
from dashboard.words import counted
from fedmem.contracts import OnlineEvaluation, OnlineGroup

DAYS = {"Last day": 1, "Last week": 7, "Last month": 30}
INTERVALS = (
    "The line is the 95 % interval (Wilson). It takes answers to be independent, which those of one user are not "
    "quite: it is somewhat too narrow."
)


def online() -> None:
    """Show the shares of noted answers that led to a click and to a hit."""
    st.title("Online")
    with backend_needed():
        model = chosen_model()
        if model is None:
            no_model_yet(":material/ads_click:")
            return
        st.caption(f"What became of the answers that users got on {in_markdown(model.dataset)}.")
        days = st.segmented_control("Answers of", list(DAYS), default="Last week", key="online-days")
        _rates(client().online(model.dataset, DAYS[days or "Last week"]))
        ab_tests(model.dataset)


def _rates(found: OnlineEvaluation) -> None:
    if not found.by_version:
        _nothing_noted(found)
        return
    hours = f"{found.attribution_hours:g}"
    st.caption(
        f"{found.share:.1%} of the answers to users are noted. A click, or an interaction with a recommended item (a "
        f"hit), counts for the answer up to {hours} hours later; until then the answer waits."
    )
    for title, groups, of in (
        ("By model", found.by_version, "Model (version)"),
        ("By strategy", found.by_strategy, "Strategy (name)"),
        ("By position", found.by_position, "Position (place)"),
    ):
        st.subheader(title)
        left, right = st.columns(2)
        for place, outcome in ((left, "hit"), (right, "click")):
            with place:
                panel(f"{outcome.title()}s", rates_chart(groups, outcome, of), f"online-{title}-{outcome}", INTERVALS)
        _table(groups, of)


def _nothing_noted(found: OnlineEvaluation) -> None:
    if found.share:
        text = f"{found.share:.1%} of the answers to users are noted; none was in this time."
    else:
        text = (
            "Set `FEDMEM_IMPRESSIONS`, to 0.1 say, and start the backend again: that share of the answers to users is "
            "noted, and what `POST /feedback` tells of clicks and interactions counts for them."
        )
    empty(
        "No answer was noted yet", f"{text} `fedmem config show --services` says how it is set.", ":material/ads_click:"
    )


def _table(groups: Sequence[OnlineGroup], of: str) -> None:
    rows = [
        {
            of.partition(" ")[0]: group.name,
            "Answers": f"{group.answers:,}",
            "Hits": counted(group.hits, group.hit_rate),
            "Clicks": counted(group.clicks, group.click_rate),
            "Worth of hits": f"{group.worth:,.6g}",
            "Waiting": f"{group.pending:,}",
        }
        for group in groups
    ]
    words_table(rows)


if __name__ == "__main__":
    online()
