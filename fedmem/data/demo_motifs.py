"""The motifs on the demo's covers, one a genre, each with a few palettes."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import ImageDraw

CANVAS_WIDTH, CANVAS_HEIGHT = 400, 600
_W, _H = CANVAS_WIDTH, CANVAS_HEIGHT

Colour = tuple[int, int, int]
Motif = Callable[[ImageDraw.ImageDraw, Sequence[Colour], np.random.Generator], None]


@dataclass(frozen=True)
class Style:
    """How a genre looks: palettes of four colours (sky, horizon, accent, silhouette) and what is drawn in them."""

    palettes: tuple[str, ...]
    motif: Motif

    def palette(self, rng: np.random.Generator) -> list[Colour]:
        """Draw one of the palettes at random."""
        return [_rgb(code) for code in self.palettes[int(rng.integers(len(self.palettes)))].split()]


def _rgb(code: str) -> Colour:
    return int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16)


def mix(a: Colour, b: Colour, share: float) -> Colour:
    """Return the colour `share` of the way from `a` to `b`."""
    red, green, blue = (round(x + (y - x) * share) for x, y in zip(a, b, strict=True))
    return red, green, blue


def _disc(draw: ImageDraw.ImageDraw, x: float, y: float, radius: float, fill: Colour) -> None:
    draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=fill)


def _ridge(
    draw: ImageDraw.ImageDraw, base: float, height: float, fill: Colour, rng: np.random.Generator, jag: bool
) -> None:
    """Draw a mountain range (jagged) or rolling hills, filled down to the foot."""
    xs = np.linspace(0, _W, 9 if jag else 41)
    if jag:
        ys = base - height * rng.uniform(0.15, 1.0, size=xs.size) * np.where(np.arange(xs.size) % 2, 1.0, 0.35)
    else:
        phase, waves = rng.uniform(0, 2 * math.pi), rng.uniform(0.8, 1.7)
        ys = base - height * (0.5 + 0.5 * np.sin(phase + waves * 2 * math.pi * xs / _W))
    draw.polygon([(0, _H), *zip(xs.tolist(), ys.tolist(), strict=True), (_W, _H)], fill=fill)


def _stars(draw: ImageDraw.ImageDraw, fill: Colour, rng: np.random.Generator, count: int = 70) -> None:
    for x, y, size in rng.uniform((0, 0, 0.6), (_W, 380, 2.6), size=(count, 3)).tolist():
        _disc(draw, x, y, size, fill)


def _adventure(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a sun over mountains; on half of the covers a sail on the sea before them."""
    top, bottom, accent, dark = palette
    _disc(draw, rng.uniform(110, 290), rng.uniform(110, 170), rng.uniform(48, 70), accent)
    for depth, (base, height) in enumerate(((330, 190), (380, 150), (430, 110))):
        _ridge(draw, base, height, mix(bottom, dark, 0.3 + 0.3 * depth), rng, jag=True)
    if rng.random() < 0.5:
        draw.rectangle([0, 350, _W, _H], fill=mix(top, dark, 0.45))
        x = rng.uniform(140, 260)
        draw.polygon([(x, 215), (x, 345), (x + 70, 345)], fill=(250, 244, 230))
        draw.polygon([(x - 8, 240), (x - 8, 345), (x - 52, 345)], fill=mix(accent, (255, 255, 255), 0.4))
        draw.polygon([(x - 70, 355), (x + 85, 355), (x + 55, 385), (x - 45, 385)], fill=dark)


def _animation(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw hot-air balloons over green hills."""
    _top, _bottom, accent, dark = palette
    for _ in range(5):
        x, y = rng.uniform(20, _W - 20), rng.uniform(50, 180)
        for shift, radius in ((-24, 15), (0, 22), (24, 15)):
            _disc(draw, x + shift, y, radius, (255, 255, 255))
    _ridge(draw, 390, 70, mix(dark, (255, 255, 255), 0.35), rng, jag=False)
    _ridge(draw, 430, 60, dark, rng, jag=False)
    colours = (accent, (255, 214, 72), (232, 84, 94), (104, 88, 196), (255, 142, 60))
    for x, y, radius in ((rng.uniform(90, 160), 150, 66), (rng.uniform(250, 320), 235, 46)):
        fill = colours[int(rng.integers(len(colours)))]
        draw.polygon(
            [(x - radius * 0.8, y + radius * 0.6), (x + radius * 0.8, y + radius * 0.6), (x, y + radius * 1.6)], fill
        )
        _disc(draw, x, y, radius, fill)
        draw.ellipse([x - radius * 0.4, y - radius, x + radius * 0.4, y + radius], fill=mix(fill, (255, 255, 255), 0.4))
        draw.rectangle([x - 13, y + radius * 1.5, x + 13, y + radius * 1.5 + 20], fill=(122, 78, 46))


def _comedy(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw sun rays and a laughing face under a bowler hat, among confetti."""
    top, _bottom, accent, dark = palette
    x, y, turn = _W / 2, 235, rng.uniform(0, 0.3)
    for ray in range(12):
        angle = turn + ray * math.pi / 6
        far = [(x + 700 * math.cos(angle + side), y + 700 * math.sin(angle + side)) for side in (-0.13, 0.13)]
        draw.polygon([(x, y), *far], fill=mix(top, (255, 255, 255), 0.35))
    for cx, cy, size, pick in rng.uniform((0, 0, 4, 0), (_W, 420, 10, 3), size=(36, 4)).tolist():
        _disc(draw, cx, cy, size, (accent, dark, (255, 255, 255))[int(pick)])
    _disc(draw, x, y, 98, (255, 224, 130))
    for side in (-1, 1):
        _disc(draw, x + side * 36, y - 10, 11, dark)
    draw.chord([x - 56, y - 22, x + 56, y + 70], 0, 180, fill=dark)
    draw.chord([x - 34, y + 30, x + 34, y + 90], 180, 360, fill=(226, 74, 82))
    draw.rounded_rectangle([x - 118, y - 84, x + 118, y - 62], radius=11, fill=dark)
    draw.pieslice([x - 72, y - 160, x + 72, y - 6], 180, 360, fill=dark)
    draw.rectangle([x - 72, y - 92, x + 72, y - 82], fill=accent)


def _crime(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a city at night, a few windows lit, a search light in the sky."""
    _top, bottom, accent, dark = palette
    x = rng.uniform(60, 340)
    lean = rng.uniform(-140, 140)
    draw.polygon([(x, 420), (x + lean - 60, -10), (x + lean + 60, -10)], fill=mix(bottom, accent, 0.35))
    _disc(draw, rng.uniform(80, 320), rng.uniform(70, 120), 34, mix(accent, (255, 255, 255), 0.55))
    for depth, tallest in ((0.35, 290), (0.9, 220)):
        left = -20.0
        while left < _W:
            width, height = rng.uniform(48, 84), rng.uniform(90, tallest)
            draw.rectangle([left, 440 - height, left + width, _H], fill=mix(bottom, dark, depth))
            if depth > 0.5:
                _windows(draw, left, 440 - height, width, accent, rng)
            left += width + rng.uniform(0, 10)


def _windows(
    draw: ImageDraw.ImageDraw, left: float, top: float, width: float, fill: Colour, rng: np.random.Generator
) -> None:
    for y in np.arange(top + 14, 440, 24).tolist():
        for x in np.arange(left + 9, left + width - 14, 17).tolist():
            if rng.random() < 0.35:
                draw.rectangle([x, y, x + 8, y + 12], fill=fill)


def _drama(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a lighthouse with its beam, or a lone tree, on quiet hills."""
    _top, bottom, accent, dark = palette
    pale = mix(accent, (255, 255, 255), 0.5)
    _disc(draw, rng.uniform(60, 340), rng.uniform(80, 160), 40, pale)
    x = rng.uniform(130, 270)
    if rng.random() < 0.5:
        draw.polygon([(x, 150), (x + 420, 70), (x + 420, 210)], fill=mix(bottom, pale, 0.45))
        draw.polygon([(x - 24, 172), (x + 24, 172), (x + 36, 420), (x - 36, 420)], fill=(244, 238, 228))
        for y in (215, 290, 365):
            draw.rectangle([x - 26 - (y - 172) / 21, y, x + 26 + (y - 172) / 21, y + 34], fill=accent)
        draw.rectangle([x - 16, 134, x + 16, 172], fill=(255, 236, 160))
        draw.polygon([(x - 26, 136), (x + 26, 136), (x, 102)], fill=dark)
    else:
        draw.line([(x, 420), (x, 250)], fill=dark, width=14)
        for _ in range(22):
            angle, reach = rng.uniform(0, 2 * math.pi), rng.uniform(0, 82)
            _disc(draw, x + reach * math.cos(angle), 215 + 0.8 * reach * math.sin(angle), rng.uniform(20, 36), accent)
    _ridge(draw, 425, 50, mix(bottom, dark, 0.6), rng, jag=False)
    _ridge(draw, 450, 40, dark, rng, jag=False)


def _fantasy(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a castle of pointed towers before a great moon."""
    _top, bottom, accent, dark = palette
    _stars(draw, (255, 255, 255), rng, 45)
    _disc(draw, rng.uniform(150, 250), 180, rng.uniform(95, 125), mix(accent, (255, 255, 255), 0.35))
    _ridge(draw, 410, 120, mix(bottom, dark, 0.45), rng, jag=True)
    for x, width in ((120, 40), (280, 40), (165, 46), (236, 46), (200, 56)):
        top = 400 - rng.uniform(70, 120) - (90 if width == 56 else 0)
        draw.rectangle([x - width / 2, top, x + width / 2, _H], fill=dark)
        draw.polygon([(x - width * 0.7, top), (x + width * 0.7, top), (x, top - width * 1.5)], fill=dark)
        draw.rounded_rectangle([x - 5, top + 22, x + 5, top + 42], radius=5, fill=accent)
    _ridge(draw, 440, 40, dark, rng, jag=False)


def _horror(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a crooked house and a bare tree before a blood moon."""
    _top, bottom, accent, dark = palette
    _disc(draw, 200, 190, rng.uniform(105, 140), accent)
    _ridge(draw, 435, 40, dark, rng, jag=False)
    x = rng.uniform(215, 275)
    draw.polygon([(x - 66, 440), (x - 58, 285), (x + 62, 275), (x + 66, 440)], fill=dark)
    draw.polygon([(x - 82, 290), (x - 8, 195), (x + 84, 278)], fill=dark)
    draw.polygon([(x + 24, 290), (x + 26, 178), (x + 44, 150), (x + 62, 178), (x + 62, 290)], fill=dark)
    for dx, dy in ((-34, 318), (18, 316), (37, 200)):
        draw.rectangle([x + dx, dy, x + dx + 14, dy + 24], fill=(255, 214, 110) if rng.random() < 0.7 else bottom)
    _branch(draw, 90, 450, -math.pi / 2 + rng.uniform(-0.1, 0.15), 88, dark, rng)


def _branch(
    draw: ImageDraw.ImageDraw, x: float, y: float, angle: float, length: float, fill: Colour, rng: np.random.Generator
) -> None:
    if length < 14:
        return
    end = x + length * math.cos(angle), y + length * math.sin(angle)
    draw.line([(x, y), end], fill=fill, width=max(2, round(length / 8)))
    for side in (-1, 1):
        _branch(draw, *end, angle + side * rng.uniform(0.25, 0.7), length * rng.uniform(0.62, 0.76), fill, rng)


def _romance(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw two hearts that overlap, and petals in the air."""
    top, _bottom, accent, dark = palette
    for x, y, size in rng.uniform((0, 0, 5), (_W, 420, 13), size=(26, 3)).tolist():
        draw.ellipse([x - size, y - size * 0.55, x + size, y + size * 0.55], fill=mix(top, (255, 255, 255), 0.45))
    shift = rng.uniform(28, 62)
    _heart(draw, 200 - shift, 225 + rng.uniform(-20, 20), rng.uniform(6.2, 7.6), dark)
    _heart(draw, 200 + shift, 235, rng.uniform(5.0, 6.6), accent)


def _heart(draw: ImageDraw.ImageDraw, x: float, y: float, size: float, fill: Colour) -> None:
    t = np.linspace(0, 2 * math.pi, 90)
    xs = x + size * 16 * np.sin(t) ** 3
    ys = y - size * (13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t))
    draw.polygon(list(zip(xs.tolist(), ys.tolist(), strict=True)), fill=fill)


def _scifi(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a ringed planet, a small moon and, now and then, a rocket."""
    _top, bottom, accent, dark = palette
    _stars(draw, (255, 255, 255), rng)
    x, y, radius = rng.uniform(150, 250), rng.uniform(190, 240), rng.uniform(80, 112)
    ring, glow = [x - radius * 1.75, y - radius * 0.42, x + radius * 1.75, y + radius * 0.42], mix(accent, dark, 0.1)
    _disc(draw, x, y, radius, accent)
    draw.chord([x - radius, y - radius, x + radius, y + radius], 10, 150, fill=mix(accent, dark, 0.35))
    for inset in (0, 14):
        box = [ring[0] + inset, ring[1] + inset / 3, ring[2] - inset, ring[3] - inset / 3]
        draw.arc(box, -8, 188, fill=mix(glow, (255, 255, 255), 0.65), width=6)
    _disc(draw, rng.uniform(40, 110), rng.uniform(50, 90), rng.uniform(14, 26), mix(bottom, (255, 255, 255), 0.5))
    if rng.random() < 0.5:
        rx, ry = rng.uniform(290, 340), rng.uniform(90, 130)
        draw.polygon([(rx - 30, ry + 50), (rx - 12, ry + 16), (rx - 2, ry + 26)], fill=(255, 168, 60))
        draw.polygon([(rx + 32, ry - 44), (rx - 16, ry + 10), (rx + 4, ry + 30)], fill=(244, 244, 248))


def _western(draw: ImageDraw.ImageDraw, palette: Sequence[Colour], rng: np.random.Generator) -> None:
    """Draw a low sun, table mountains and cacti."""
    _top, bottom, accent, dark = palette
    _disc(draw, rng.uniform(120, 280), rng.uniform(190, 250), rng.uniform(78, 105), accent)
    for _ in range(3):
        left, width, top = rng.uniform(-40, 330), rng.uniform(70, 140), rng.uniform(240, 310)
        foot = [(left + width + 26, 400), (left - 26, 400)]
        draw.polygon([(left, top), (left + width, top), *foot], fill=mix(bottom, dark, rng.uniform(0.3, 0.6)))
    draw.rectangle([0, 385, _W, _H], fill=mix(bottom, dark, 0.7))
    for x, size in ((rng.uniform(50, 120), 1.0), (rng.uniform(250, 350), rng.uniform(0.5, 0.8))):
        _cactus(draw, x, 425, size, dark)


def _cactus(draw: ImageDraw.ImageDraw, x: float, foot: float, size: float, fill: Colour) -> None:
    def limb(left: float, top: float, right: float, bottom: float) -> None:
        box = [x + left * size, foot + top * size, x + right * size, foot + bottom * size]
        draw.rounded_rectangle(box, radius=12 * size, fill=fill)

    limb(-16, -190, 16, 0)
    limb(-62, -110, 0, -84)
    limb(-62, -150, -38, -84)
    limb(0, -80, 58, -54)
    limb(36, -130, 58, -54)


STYLES: dict[str, Style] = {
    "Adventure": Style(
        ("2a7f8e f2c078 f25f3a 173f4f", "4f8fc0 f7dfa5 ffb23e 1f3b2d", "7a4f9a ffa585 ffe08a 2c1f47"), _adventure
    ),
    "Animation": Style(
        ("6fc8f2 fdf1b8 f2699c 4fae62", "9ad9ff ffe3ee ff8f4f 3fa58c", "b6a4f2 ffe9c7 4fc3d9 6cb04a"), _animation
    ),
    "Comedy": Style(
        ("ffb81f ff7b2e 2e86de 3a2440", "4fc3c7 1e8ca0 ff5d6c 2c2250", "ff8fab e8527a ffd23f 40203f"), _comedy
    ),
    "Crime": Style(
        ("101a2c 33455f f5c84c 0a0e18", "241226 6a2c3f ffb347 120913", "0f2622 2f5d55 ffe27a 081311"), _crime
    ),
    "Drama": Style(
        ("8aa5b8 e8d9c3 c65d47 2b3a48", "c98f6b f3dfc0 9c3d3a 3b2a2a", "6d7fa0 d7c7d6 d99a3d 262b44"), _drama
    ),
    "Fantasy": Style(
        ("1c1147 7a4fb5 ffd166 150b33", "0b3340 3f9c93 e8f19a 06222b", "3a1046 c75b8f ffd9a0 240a2e"), _fantasy
    ),
    "Horror": Style(
        ("1a0a0c 4a1216 b3202a 070304", "10141a 2f3a40 9fb08a 050708", "160b1f 3d1f4f c9572f 08040c"), _horror
    ),
    "Romance": Style(
        ("ffd0d8 f58aa0 ffffff c2274f", "fbe3c5 f2a07b fff4e6 b8433f", "d7c4f0 a77fc4 ffe3f1 6d2f80"), _romance
    ),
    "Sci-Fi": Style(
        ("05081f 1f3b7a 4fd1e8 0a1030", "120a2e 5a2a8a ff7ab8 150a33", "04161a 0f5a5e ffb454 031215"), _scifi
    ),
    "Western": Style(
        ("f2a541 c8553d ffe2a0 45201a", "e8c07d b5651d f25c2a 3a1f12", "7fb3c9 e6a15c fff0c2 4a2a1a"), _western
    ),
}
