"""Recommend: what a user is recommended, why, and what becomes of it with less history."""

import streamlit as st

from dashboard.address import whole_number
from dashboard.charts.recommend import READ, parts_chart, read_chart
from dashboard.components.answers import answer_list, in_common, parts_legend
from dashboard.components.connection import client
from dashboard.components.drawings import panel
from dashboard.components.history import Taken, history, history_strip
from dashboard.components.model_choice import chosen_model
from dashboard.components.states import backend_needed, no_model_yet
from dashboard.plain_text import in_markdown
from fedmem.contracts import Explanation, InService, RecommendationRequest, RecommendationResponse
from fedmem.modality import Modality

K = 10
STRATEGIES = {
    "model": ("reads their own memory", "blue"),
    "global_memory": ("reads the global memory", "orange"),
    "popularity": ("goes by popularity", "violet"),
    "prototypes": ("reads the global prototypes", "violet"),
    "cold_model": ("has no memory to read", "gray"),
    "no_memory": ("reads no memory", "gray"),
}
UNREAD = STRATEGIES["cold_model"]
ONLY_TRANSITIONS = ("reads what others took next", "orange")
COLD = (
    "With fewer interactions than training asks for there is no memory of one's own: the global memory is read, as for "
    "a new user. With none at all, the items that most have taken come first; a model without a transition memory "
    "reads its prototypes by their mass instead."
)
WITHOUT = (
    "The same history goes through the sequence model alone: neither their own memory nor the global one, prototypes "
    "and transitions, is read. What changes is what the memory adds to the answer."
)
SUM = (
    "Every score is a sum: what the sequence model says, what each expert reads in the memory, and what others took "
    "next after the same items. Of a user of whom nothing is known it is popularity alone."
)


def recommend() -> None:
    """Show a history, the warm answer beside a colder one, and what the scores are made of."""
    st.title("Recommend")
    with backend_needed():
        model = chosen_model()
        if model is None:
            no_model_yet(":material/movie:")
            return
        st.caption(
            f"{in_markdown(model.model_version)} answers, the model in service, on {in_markdown(model.dataset)}, "
            "whatever job is chosen at the side."
        )
        taken = history(model.dataset)
        if taken is not None:
            _answers(model, taken)


def _answers(model: InService, taken: Taken) -> None:
    """Show the answer warm, without memory and colder, side by side, and the parts of the chosen one."""
    count = len(taken.items)
    history_strip(taken, model.dataset)
    latest = _latest(taken)
    warm = _ask(model, taken, count)
    without = _ask(model, taken, count, memory=False)
    answers = {"warm": (_words(count, count), warm), "without": ("Without memory", without)}
    if count:
        answers["colder"] = (_words(latest, count), _ask(model, taken, latest))
    parts_legend(*(answer for _, answer in answers.values()))
    with st.container(key="answers"):
        places = st.columns(len(answers), gap="medium")
    for place, (title, answer) in zip(places, answers.values(), strict=True):
        with place:
            _answer(title, answer, model, warm)
    st.caption("Scores compare within one answer only.")
    _why(answers)


def _words(latest: int, count: int) -> str:
    if latest == 0:
        return "With nothing"
    if latest == count:
        return f"With all {count} interactions" if count > 1 else "With 1 interaction"
    return "With the latest interaction" if latest == 1 else f"With the latest {latest}"


def _latest(taken: Taken) -> int:
    """Ask how many interactions the colder answer is given; in the address unless it is none."""
    count, given = len(taken.items), st.query_params.get("latest", "")
    if count == 0:
        return 0
    latest: int = st.slider(
        "Take interactions away: how many of the latest are left for the last list",
        0,
        count,
        value=min(count, whole_number(given) or 0),
        key=f"latest-{taken.name}-{count}",
        help=COLD,
    )
    if latest:
        st.query_params["latest"] = str(latest)
    else:
        st.query_params.pop("latest", None)
    return latest


def _ask(model: InService, taken: Taken, latest: int, *, memory: bool = True) -> RecommendationResponse:
    """Get the answer to the latest interactions; the items of the whole history are never offered again."""
    ids = tuple(item_id for item_id, _ in taken.items)
    kept = ids[len(ids) - latest :]
    if taken.user_id is not None and latest == len(ids):
        return client().recommend(taken.user_id, K, model.dataset, memory=memory)
    request = RecommendationRequest(history=kept, exclude=ids, k=K, explain=True, memory=memory)
    return client().recommend_for(request, model.dataset)


def _answer(title: str, answer: RecommendationResponse, model: InService, warm: RecommendationResponse) -> None:
    words, colour = _reads(answer)
    st.markdown(f"#### {title}", help=WITHOUT if answer.strategy == "no_memory" else COLD)
    st.markdown(f":{colour}-badge[{words}]")
    answer_list(answer, model.dataset, None if answer is warm else warm)
    if answer is not warm:
        st.caption(f"{in_common(answer, warm)} of {len(answer.items)} are in the first list as well.")


def _reads(answer: RecommendationResponse) -> tuple[str, str]:
    """Say what an answer was made from, and its colour; the explanation tells whether there was anything to read."""
    explanation = answer.explanation
    if answer.strategy != "model" or explanation is None or explanation.memory:
        return STRATEGIES[answer.strategy]
    return ONLY_TRANSITIONS if "transitions" in explanation.fusion else UNREAD


def _why(answers: dict[str, tuple[str, RecommendationResponse]]) -> None:
    st.subheader("Why these")
    picked = st.segmented_control(
        "Which answer",
        list(answers),
        default="warm",
        required=True,
        key="why",
        bind="query-params",
        format_func=lambda name: answers[name][0],
        label_visibility="collapsed",
    )
    _, answer = answers[picked]
    if answer.explanation is None:
        st.caption("The model in service does not explain itself.")
        return
    if not answer.explanation.memory:  # nothing that could stand beside the chart
        panel("What the scores are made of", parts_chart(answer), "recommend-parts", SUM)
        _unread(answer.explanation)
        return
    left, right = st.columns(2, gap="large")
    with left:
        panel("What the scores are made of", parts_chart(answer), "recommend-parts", SUM)
    with right:
        _read(answer.explanation)


def _unread(explanation: Explanation) -> None:
    transitions = "transitions" in explanation.fusion
    words = "Neither memory entries nor prototypes were read" if transitions else "No memory was read"
    st.caption(f"{words} for this answer.")


def _read(explanation: Explanation) -> None:
    count = len(explanation.memory)
    most = f"the {READ} that were read most, of {count}" if count > READ else "all that was read"
    note = f"Items of their own memory, and prototypes of what others remember: {most}."
    panel("What was read in the memory", read_chart(explanation), "recommend-read", note)
    if explanation.gates:
        _gates(explanation.gates, explanation.nothing)


def _gates(gates: dict[str, float], nothing: dict[str, float]) -> None:
    words = {modality.value: modality.label.lower() for modality in Modality}
    weighed = ", ".join(f"{words[name]} {100 * weight:.0f} %" for name, weight in gates.items())
    unread = ", ".join(f"{words[name]} {100 * weight:.0f} %" for name, weight in nothing.items())
    st.caption(f"Weights of the experts: {weighed}. Left unread: {unread}.")


if __name__ == "__main__":
    recommend()
