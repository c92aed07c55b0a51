"""Covers for the films of the embedded demo: a palette and a motif by genre, drawn with Pillow from a seed."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from fedmem.data.demo_catalogue import Film
from fedmem.data.demo_motifs import CANVAS_HEIGHT, CANVAS_WIDTH, STYLES, Colour, mix

_SCALE = 2  # drawn larger and reduced, because ImageDraw's shapes have hard edges
_TITLE_TOP = 416  # the motif lies above, the title block below
_TITLE_HEIGHT = 122
_SEPIA_BEFORE, _SEPIA = 1965, (222, 196, 150)


def draw_cover(film: Film, rng: np.random.Generator) -> Image.Image:
    """Draw the film's cover, RGB, 200 x 300; `rng` varies palette and motif within the genre."""
    style = STYLES[film.genres[0]]
    palette = style.palette(rng)
    image = _gradient(palette[0], palette[1])
    style.motif(ImageDraw.Draw(image), palette, rng)
    image = _darken_foot(image)
    _write_title(ImageDraw.Draw(image), film, palette[2])
    return _aged(image.reduce(_SCALE), film.year)


def _gradient(top: Colour, bottom: Colour) -> Image.Image:
    share = np.linspace(0, 1, CANVAS_HEIGHT)[:, None, None]
    rows = np.asarray(top) * (1 - share) + np.asarray(bottom) * share  # [H, 1, 3]
    return Image.fromarray(np.broadcast_to(rows, (CANVAS_HEIGHT, CANVAS_WIDTH, 3)).round().astype(np.uint8))


def _darken_foot(image: Image.Image) -> Image.Image:
    """Add a soft shadow under the title, so that light ink is legible on every palette."""
    rows = np.clip((np.arange(CANVAS_HEIGHT) - (_TITLE_TOP - 90)) / 120, 0, 1)[:, None]
    mask = Image.fromarray(np.broadcast_to(rows * 215, (CANVAS_HEIGHT, CANVAS_WIDTH)).round().astype(np.uint8))
    return Image.composite(Image.new("RGB", image.size, (12, 12, 18)), image, mask)


def _aged(image: Image.Image, year: int) -> Image.Image:
    """Give old films the paper tone of an old print."""
    if year >= _SEPIA_BEFORE:
        return image
    grey = np.asarray(image.convert("L"), dtype=np.float64)[:, :, None] / 255
    toned = 0.55 * grey * np.asarray(_SEPIA) + 0.45 * np.asarray(image)
    return Image.fromarray(toned.round().astype(np.uint8))


def _write_title(draw: ImageDraw.ImageDraw, film: Film, accent: Colour) -> None:
    lines, font = _fitted(draw, film.title)
    step = round(font.size * 1.12)
    top = _TITLE_TOP + (_TITLE_HEIGHT - step * len(lines)) // 2
    for row, line in enumerate(lines):
        draw.text(
            (CANVAS_WIDTH / 2, top + row * step), line, font=font, fill=(250, 246, 236), anchor="ma", stroke_width=1
        )
    draw.line([(CANVAS_WIDTH / 2 - 36, 555), (CANVAS_WIDTH / 2 + 36, 555)], fill=accent, width=3)
    small = f"{'  /  '.join(film.genres)}  ·  {film.year}"
    draw.text((CANVAS_WIDTH / 2, 564), small, font=_font(20), fill=mix(accent, (255, 255, 255), 0.45), anchor="ma")


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    assert isinstance(font, ImageFont.FreeTypeFont), "Pillow was built without FreeType"
    return font


def _fitted(draw: ImageDraw.ImageDraw, title: str) -> tuple[list[str], ImageFont.FreeTypeFont]:
    """Wrap the title in the largest size at which its lines fit the title block."""
    for size in range(54, 26, -3):
        font = _font(size)
        lines = _wrapped(draw, title, font)
        widest = max(draw.textlength(line, font=font) for line in lines)
        if widest <= CANVAS_WIDTH - 50 and len(lines) * size * 1.12 <= _TITLE_HEIGHT:
            return lines, font
    return lines, font


def _wrapped(draw: ImageDraw.ImageDraw, title: str, font: ImageFont.FreeTypeFont) -> list[str]:
    lines = [""]
    for word in title.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and draw.textlength(longer, font=font) > CANVAS_WIDTH - 50:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
