"""A question before something that changes what people get: asked until it is answered, and open where it fails."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import streamlit as st

from dashboard.plain_text import in_markdown
from dashboard.transport import BackendError

Emphasis = Literal["primary", "secondary"]


@dataclass(frozen=True)
class Confirmation:
    """What is asked about one of several things, such as a model by its name.

    Attributes:
        key: of its buttons, and of what the session keeps of it.
        title: the question.
        yes: the button that does it.
        act: does it, and raises BackendError where it cannot be done.
        destroys: whether it cannot be taken back, so that the other button is the one that stands out.
    """

    key: str
    title: str
    yes: str
    act: Callable[[str], object]
    destroys: bool = False

    @property
    def _question(self) -> str:
        return f"{self.key}-question"

    @property
    def _trouble(self) -> str:
        return f"{self.key}-trouble"

    @property
    def about(self) -> str | None:
        """What is asked about at the moment."""
        found: str | None = st.session_state.get(self._question)
        return found

    def ask(self, about: str) -> None:
        """Ask from now on: for a button's ``on_click``."""
        st.session_state[self._question] = about
        st.session_state.pop(self._trouble, None)

    def draw(self, text: str) -> None:
        """Draw the open question; in every run until it is answered, since news of a job draws a page anew."""
        st.dialog(self.title, on_dismiss=self._answered)(self._body)(text)

    def _body(self, text: str) -> None:
        st.markdown(text)
        if self._trouble in st.session_state:
            st.error(in_markdown(st.session_state[self._trouble]), icon=":material/error:")
        with st.container(horizontal=True):
            yes: Emphasis = "secondary" if self.destroys else "primary"
            no: Emphasis = "primary" if self.destroys else "secondary"
            icon = ":material/delete:" if self.destroys else None
            st.button(self.yes, type=yes, icon=icon, key=f"confirm-{self.key}", on_click=self._do)
            st.button("Leave it", type=no, key=f"leave-{self.key}", on_click=self._answered)
        if self.about is None:
            st.rerun()

    def _answered(self) -> None:
        st.session_state.pop(self._question, None)

    def _do(self) -> None:
        """Do it and close the question, or keep it open with what was wrong."""
        about = self.about
        if about is None:
            return
        try:
            self.act(about)
        except BackendError as error:
            st.session_state[self._trouble] = str(error)
        else:
            self._answered()
