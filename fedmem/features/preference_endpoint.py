"""Preference texts by a language model behind any OpenAI-compatible endpoint.

The first half of a user's training history is sent to the endpoint the operator names: choose one that the users trust.
Texts are written before training, never at request time; every answer is kept on disk as soon as it is there.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from fedmem.data.interactions import Item
from fedmem.errors import FeatureError
from fedmem.features.cache import Cache, content_key
from fedmem.features.preference_texts import PreferenceWriter, names_a_title, template_text
from fedmem.features.settings import FeatureSettings

if TYPE_CHECKING:
    from openai import OpenAI

logger = logging.getLogger(__name__)

INSTRUCTION = (
    "You are told what a person has watched, read or bought, oldest first. Describe the person's taste in one or two "
    "sentences of at most 50 words: genres, eras, themes, moods. Never name a title, a person or a character."
)
MOST_ITEMS = 50  # of the history, the latest ones: enough to know a taste by, short enough for any model
_TIMEOUT_SECONDS = 60.0


@dataclass(eq=False)
class EndpointWriter:
    """Writes a preference text by ``POST base_url/chat/completions``; ``rejected`` counts what the template replaced.

    An answer that is empty or names a title of the history is replaced by the template's text. Raises FeatureError
    where the endpoint does not answer; what it answered before is kept, so that the next run goes on from there.
    """

    base_url: str
    model: str
    cache: Cache
    api_key: str = field(default="none", repr=False)  # a local server asks for none
    max_retries: int = 4
    rejected: int = field(default=0, init=False)

    def __call__(self, history: Sequence[Item]) -> str:
        """Put the taste into words; empty for an empty history."""
        told = [item for item in history if item.text.strip()][-MOST_ITEMS:]
        if not told:
            return template_text(history)
        prompt = "\n".join(item.text for item in told)
        answer = " ".join(self._answer(prompt).split())
        if answer and not names_a_title(answer, (item.title for item in history)):
            return answer
        self.rejected += 1
        return template_text(history)

    def _answer(self, prompt: str) -> str:
        key = content_key("preference text", self.model, INSTRUCTION, prompt)
        stored = self.cache.get([key]).get(key)
        if stored is not None:
            return stored.decode()
        answer = self._ask(prompt)
        self.cache.put({key: answer.encode()})
        return answer

    def _ask(self, prompt: str) -> str:
        import openai

        try:
            completion = self._client.chat.completions.create(
                model=self.model,
                temperature=0,
                messages=[{"role": "system", "content": INSTRUCTION}, {"role": "user", "content": prompt}],
            )
        except openai.OpenAIError as error:
            raise FeatureError(
                f"the endpoint {self.base_url} did not write a preference text ({error}): start again to go on from "
                "the answers kept so far, or set features.preference_source=template"
            ) from error
        return (completion.choices[0].message.content or "") if completion.choices else ""

    @cached_property
    def _client(self) -> "OpenAI":
        from openai import OpenAI

        return OpenAI(
            base_url=self.base_url, api_key=self.api_key, max_retries=self.max_retries, timeout=_TIMEOUT_SECONDS
        )

    def close(self) -> None:
        """Give the connections back."""
        if "_client" in self.__dict__:
            self._client.close()


def preference_writer(source: str, cache: Cache) -> PreferenceWriter:
    """Make the writer of ``template`` or ``endpoint``, which FEDMEM_LLM_BASE_URL, _MODEL and _API_KEY describe.

    Raises FeatureError where the endpoint is not described or the ``openai`` package is not installed.
    """
    if source == "template":
        return template_text
    assert source == "endpoint", source
    try:
        import openai  # noqa: F401
    except ImportError as error:
        raise FeatureError(
            "features.preference_source=endpoint needs the openai package: pip install 'fedmem[llm]', or set "
            "features.preference_source=template"
        ) from error
    settings = FeatureSettings.load()
    secret = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    return EndpointWriter(
        base_url=_required("llm_base_url", settings.llm_base_url),
        model=_required("llm_model", settings.llm_model),
        cache=cache,
        api_key=secret or "none",
    )


def _required(setting: str, value: str | None) -> str:
    if not value:
        raise FeatureError(
            f"features.preference_source=endpoint needs {FeatureSettings.variable(setting)} in the environment or in "
            ".env: set it, or set features.preference_source=template"
        )
    return value
