"""The colours stand out from a light page and from a dark one, and colour-blind readers tell them apart."""

from itertools import combinations

import numpy as np
import pytest

from dashboard.charts import palette
from dashboard.charts.palette import GREY, INK, ON_DARK, PAPER, SERIES, colours, on_page
from dashboard.theme import DARK as DARK_THEME
from dashboard.theme import LIGHT as LIGHT_THEME
from dashboard.theme import ON_PRIMARY

LIGHT = (*SERIES, GREY)
DARK = tuple(ON_DARK[colour] for colour in LIGHT)
PAGES = [(LIGHT, PAPER), (DARK, ON_DARK[PAPER])]
APART = 14.0  # of CIE 1976's difference; 2.3 is just noticeable
# Machado, Oliveira, Fernandes (2009), A Physiologically-based Model for Simulation of Color Vision Deficiency:
# at full severity, on linear RGB.
SIGHTS = {
    "usual": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
XYZ = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
WHITE = np.array([0.9505, 1.0, 1.089])


def linear(colour):
    """Linear RGB, 0 to 1, of #RRGGBB."""
    values = np.array([int(colour[start : start + 2], 16) for start in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    """As WCAG 2 defines it, 1 to 21."""
    low, high = sorted(float((XYZ @ linear(colour))[1]) for colour in (one, other))
    return (high + 0.05) / (low + 0.05)


def lab(colour, sight):
    scaled = XYZ @ np.clip(np.array(sight) @ linear(colour), 0, 1) / WHITE
    x, y, z = np.where(scaled > 0.008856, np.cbrt(scaled), 7.787 * scaled + 16 / 116)
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize(("drawn", "page"), PAGES)
def test_every_colour_stands_out_from_the_page(drawn, page):
    assert all(contrast(colour, page) >= 3 for colour in drawn), drawn
    assert contrast(on_page(INK, None) if page == PAPER else ON_DARK[INK], page) >= 7


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(("drawn", "page"), PAGES)
def test_colours_are_told_apart(drawn, page, sight):
    for one, other in combinations(drawn, 2):
        difference = np.linalg.norm(lab(one, SIGHTS[sight]) - lab(other, SIGHTS[sight]))
        assert difference >= APART, (one, other)


def test_a_dark_page_changes_every_colour_once():
    named = {value for name, value in vars(palette).items() if name.isupper() and isinstance(value, str)}
    assert named == ON_DARK.keys()
    assert ON_DARK.keys().isdisjoint(ON_DARK.values())
    text = " ".join(named)
    assert on_page(text, "light") == text
    assert on_page(text, "dark").split() == [ON_DARK[colour] for colour in text.split()]


@pytest.mark.parametrize(("mode", "theme"), [("light", LIGHT_THEME), ("dark", DARK_THEME)])
def test_words_on_a_button_can_be_read(mode, theme):
    assert contrast(ON_PRIMARY[mode], theme["primaryColor"]) >= 4.5
    assert contrast(theme["primaryColor"], theme["backgroundColor"]) >= 3


def test_colours_come_again_when_they_run_out():
    assert colours(8) == [*SERIES, *SERIES[:2]]
