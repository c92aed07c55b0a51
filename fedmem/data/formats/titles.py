"""A title as a reader expects it, its year, and the text that the text encoder reads."""

import re

# "Matrix, The (1999)": film lists put the article after the name so that they sort.
_ARTICLE_LAST = re.compile(
    r"^(?P<name>[^(]+), (?P<article>The|A|An|La|Le|Les|L'|El|Los|Las|Il|Lo|Der|Die|Das|Det|Den)(?P<rest>\s*\(.*)?$"
)
_YEAR = re.compile(r"\((\d{4})(?:[-\u2013]\d{0,4})?\)")  # a series has the years of its span, joined by a dash


def readable_title(title: str) -> str:
    """Move an article to the front: ``Matrix, The (1999)`` becomes ``The Matrix (1999)``."""
    match = _ARTICLE_LAST.match(title.strip())
    if not match:
        return title.strip()
    gap = "" if match["article"].endswith("'") else " "
    rest = (match["rest"] or "").strip()
    return f"{match['article']}{gap}{match['name']}{' ' + rest if rest else ''}"


def year_in(title: str) -> int | None:
    """Return the last year in brackets in a title, the first of a span such as ``(2006-2007)``."""
    years = _YEAR.findall(title)
    return int(years[-1]) if years else None


def item_text(title: str, year: int | None, genres: tuple[str, ...], description: str) -> str:
    """Join what is known to ``Title (year). Genre, Genre. Description``; empty if nothing is."""
    headline = f"{title} ({year})" if title and year and year_in(title) is None else title
    return ". ".join(part for part in (headline, ", ".join(genres), description) if part)


def description_in(text: str, title: str, year: int | None, genres: tuple[str, ...]) -> str:
    """Take the description out of what ``item_text`` made of these: its inverse."""
    for known_title in (title, ""):  # one that says nothing was left out
        beginning = item_text(known_title, year, genres, "")
        if text == beginning:
            return ""
        if beginning and text.startswith(f"{beginning}. "):
            return text[len(beginning) + 2 :]
    return text
