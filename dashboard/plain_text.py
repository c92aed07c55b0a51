"""Text that is data, shown as it is: an id, a title or a message is never markup, in HTML as little as in Markdown."""

import re

_MARKUP = re.compile(r"[!-/:-@\[-`{-~]|^\s|\s$|[^\S ]")  # punctuation, and the whitespace that HTML or Markdown drops
# What Streamlit replaces in text that is already parsed, where no escape is left: :emoji:, ``->`` and the like,
# e-mail addresses and hosts. It looks at one piece of text at a time, so that a boundary within them ends it.
_REPLACED = re.compile(r"(?=[:@])|(?<=[<>=~-])(?=[<>=~-])|(?<=www)(?=\.)", re.IGNORECASE)
_BOUNDARY = ":small[]"  # an element without content


def in_html(text: object) -> str:
    """Write text as character references, which neither HTML nor CommonMark (6.2) takes for markup."""
    return _MARKUP.sub(lambda character: f"&#{ord(character[0])};", str(text))


def in_markdown(text: object) -> str:
    """Write text so that Streamlit's Markdown shows it as it is: bodies, labels, tooltips, messages.

    Tables, charts, ``st.code`` and the options of select boxes take no Markdown and need none of this.
    """
    return _BOUNDARY.join(map(in_html, _REPLACED.split(str(text))))
