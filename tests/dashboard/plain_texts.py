"""A page with every element of Streamlit that takes Markdown, each with texts that are not meant as markup."""

import streamlit as st

from dashboard.plain_text import in_html, in_markdown

TEXTS = (
    "**bold** _em_ `code` ~~gone~~ ***both*** __too__",
    "![p](http://e.invalid/p.png) [link](http://e.invalid/l) [ref][1] <http://e.invalid/a>",
    "<img src=http://e.invalid/i onerror=alert(1)><b>b</b><!-- c --> &amp; &#42; &lt;",
    ":smile: ::smile:: :+1: :red[colour] :blue-badge[x] :small[y] :color[z]{foreground=red} :help[w] a:b:c",
    ":material/home: :material_home: :streamlit:",
    "$x^2$ $$y$$ \\(z\\) \\* back\\slash\\",
    "# heading",
    "- item",
    "1. one",
    "> quote",
    "| a | b |",
    "---",
    "===",
    "    code",
    "[^1] [x] - [ ] task",
    "a -> b <- c <-> d -- e >= f <= g ~= h --->",
    "->",
    "x:->",
    "user@e.invalid u.v+w@e.invalid mailto:a@e.invalid @ www. WWW.e.invalid/x http://e.invalid/y https://www.e.invalid",
    "u_1_x*star*",
    "`",
    "line one\n\n- line two\r\nthree\ttabbed",
    " spaces around ",
    "{{x}} ${y} %s {0}",
    "naïve café, 日本語, عربى, 🎬",
)


def main() -> None:
    """Draw a container for each text."""
    for number, text in enumerate(TEXTS):
        with st.container(key=f"text-{number}"):
            _everything(number, in_markdown(text))
            st.html(f"<div>{in_html(text)}</div>")
    st.toast(in_markdown(TEXTS[0]), duration="infinite")


def _everything(number: int, text: str) -> None:
    for show in (st.markdown, st.caption, st.error, st.info, st.warning):
        show(text)
    st.subheader(text, anchor=False)
    st.metric(text, text, text, help=text)
    st.progress(0.5, text=text)
    st.button(text, key=f"button-{number}")
    st.toggle(text, key=f"toggle-{number}")
    st.segmented_control(text, [text], key=f"segments-{number}")
    st.text_input(text, key=f"input-{number}")


if __name__ == "__main__":
    main()
