"""The colours, for a light page and for a dark one, told apart by colour-blind readers.

The hues are Okabe and Ito's (2008, Color Universal Design). Their sky blue and orange are too faint on white, and their
blue on a dark page comes too near to their sky blue; so the lightness was moved until each colour has at least 3 to 1
against the page, and any two differ as well under simulated protanopia, deuteranopia and tritanopia.
"""

BLUE = "#005B99"
VERMILLION = "#C04000"
GREEN = "#00A076"
PURPLE = "#C970AC"
ORANGE = "#D07D00"
SKY = "#3D86F0"
GREY = "#626262"  # references and what is only background
INK = "#1B2330"  # words in a chart
PAPER = "#FFFFFF"  # the page itself, around what must stand out from what it lies on

ON_DARK = {
    BLUE: "#2B82DE",
    VERMILLION: "#DB5A0B",
    GREEN: "#12B282",
    PURPLE: "#CC79B4",
    ORANGE: "#F2B705",
    SKY: "#7CD3FA",
    GREY: "#BFC4CB",
    INK: "#E8ECF2",
    PAPER: "#11151C",
}

SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)


def colours(count: int) -> list[str]:
    """Give each series a colour, starting again when they run out."""
    return [SERIES[index % len(SERIES)] for index in range(count)]


def on_page(text: str, theme: str | None) -> str:
    """Put a specification or a piece of HTML into the colours of a light or a dark page."""
    if theme == "dark":
        for light, dark in ON_DARK.items():
            text = text.replace(light, dark)
    return text
