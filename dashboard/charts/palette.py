"""The colours: Okabe and Ito's, told apart by colour-blind readers, on a light page and on a dark one.

The original's yellow vanishes on white and its black on black; sky blue and orange come last, being weak on white.
Okabe, Ito (2008), Color Universal Design.
"""

BLUE = "#0072B2"
VERMILLION = "#D55E00"
GREEN = "#009E73"
PURPLE = "#CC79A7"
SKY = "#56B4E9"
ORANGE = "#E69F00"
GREY = "#8A8A8A"  # references and what is only background
INK = "#1B2330"  # words in a chart

# On a dark page blue and ink would sink into it.
ON_DARK = {BLUE: "#4F8FEA", INK: "#E8ECF2"}

SERIES = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)


def colours(count: int) -> list[str]:
    """As many colours as there are series, from the start again when they run out."""
    return [SERIES[index % len(SERIES)] for index in range(count)]
