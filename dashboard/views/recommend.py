"""Recommend: what somebody is recommended, why, and what becomes of it with less history."""

import streamlit as st

from dashboard.charts.recommend import parts_chart, read_chart
from dashboard.components.connection import client
from dashboard.components.covers import Card, cover_grid
from dashboard.components.drawings import panel
from dashboard.components.history import Taken, history
from dashboard.components.states import backend_needed, empty
from fedmem.contracts import ModelVersion, RecommendationRequest, RecommendationResponse

K = 10
MOST_SHOWN = 30
STRATEGIES = {
    "model": ("the model, with their own memory", "blue"),
    "global_memory": ("the global memory: too little is known for one of their own", "orange"),
    "prototypes": ("the global prototypes: nothing is known", "violet"),
    "cold_model": ("the model alone: too little is known, and it has no global memory", "gray"),
}


def recommend() -> None:
    """Somebody's history, the warm answer beside a colder one, and what the scores are made of."""
    st.title("Recommend")
    with backend_needed():
        model = _model_in_service()
        if model is None:
            empty(
                "No model is in service yet",
                "A training job puts its best model into service when it is done. Start one on the Training page; "
                "on the demo catalogue it takes a minute or two.",
                ":material/movie:",
            )
            st.page_link("views/training.py", label="Go to Training", icon=":material/trending_up:")
            return
        taken = history(model.dataset)
        if taken is not None:
            _answers(model, taken)


def _model_in_service() -> ModelVersion | None:
    page = client().models()
    return next((model for model in page.models if model.version == page.serving), None)


def _answers(model: ModelVersion, taken: Taken) -> None:
    _strip(model, taken)
    warm = _ask(taken, len(taken.items))
    latest = _latest(taken)
    left, right = st.columns(2, gap="large")
    with left:
        st.markdown(f"#### With all {len(taken.items)} interactions")
        _answer(warm, model)
    if taken.items:
        with right:
            _colder(model, taken, latest, warm)
    _why(warm)


def _strip(model: ModelVersion, taken: Taken) -> None:
    with st.container(border=True):
        count = len(taken.items)
        latest = ", the latest first" if count > 1 else ""
        st.markdown(f"**{taken.name}** has taken {count} {'item' if count == 1 else 'items'}{latest}")
        if taken.items:
            cards = [Card(item_id, title) for item_id, title in reversed(taken.items[-MOST_SHOWN:])]
            cover_grid(cards, model.dataset, "strip")


def _latest(taken: Taken) -> int:
    """How many interactions the colder answer is given."""
    count = len(taken.items)
    if count == 0:
        return 0
    return st.slider(
        "Take interactions away: how many of the latest are left for the answer on the right",
        0,
        count,
        value=0,
        key=f"latest-{taken.name}-{count}",
        help="With fewer than the model's minimum the global memory answers, as for a new user.",
    )


def _ask(taken: Taken, latest: int) -> RecommendationResponse:
    """The answer to the latest interactions; the items of the whole history are never offered again."""
    ids = tuple(item_id for item_id, _ in taken.items)
    kept = ids[len(ids) - latest :]
    if taken.user_id is not None and latest == len(ids):
        return client().recommend(taken.user_id, K)
    return client().recommend_for(RecommendationRequest(history=kept, exclude=ids, k=K, explain=True))


def _colder(model: ModelVersion, taken: Taken, latest: int, warm: RecommendationResponse) -> None:
    words = {0: "With nothing", 1: "With the latest interaction"}
    st.markdown(f"#### {words.get(latest, f'With the latest {latest}')}")
    cold = _ask(taken, latest)
    _answer(cold, model)
    common = {item.item_id for item in warm.items} & {item.item_id for item in cold.items}
    st.caption(f"{len(common)} of {len(warm.items)} are the same as on the left.")


def _answer(answer: RecommendationResponse, model: ModelVersion) -> None:
    words, colour = STRATEGIES[answer.strategy]
    st.markdown(f":{colour}-badge[answered by {words}]")
    cover_grid(
        [
            Card(
                item.item_id,
                item.title,
                " · ".join(filter(None, [", ".join(item.genres), str(item.year or "")])),
                f"{item.score:.2f}",
                place,
            )
            for place, item in enumerate(answer.items, 1)
        ],
        model.dataset,
        "compact",
    )
    st.caption(f"Model `{answer.model_version}`, round {answer.round}. Scores compare within one answer only.")


def _why(answer: RecommendationResponse) -> None:
    st.subheader("Why these")
    if answer.explanation is None:
        st.caption("The model in service does not explain itself.")
        return
    left, right = st.columns(2, gap="large")
    with left:
        note = "Every score is a sum: what the sequence model says, and what each expert reads in the memory."
        panel("What the scores are made of", parts_chart(answer), "recommend-parts", note)
    with right:
        if answer.explanation.memory:
            note = "Items of their own memory, and prototypes of what others remember."
            panel("What was read in the memory", read_chart(answer.explanation), "recommend-read", note)
        gates = answer.explanation.gates
        if gates:
            _gates(gates, answer.explanation.nothing)


def _gates(gates: dict[str, float], nothing: dict[str, float]) -> None:
    words = {"sequential": "sequence", "text": "text", "visual": "image"}
    weighed = ", ".join(f"{words[name]} {100 * weight:.0f} %" for name, weight in gates.items())
    unread = ", ".join(f"{words[name]} {100 * weight:.0f} %" for name, weight in nothing.items())
    st.caption(f"Weights of the experts: {weighed}. Left unread: {unread}.")


if __name__ == "__main__":
    recommend()
