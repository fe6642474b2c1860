"""A dark picture of few colours, which makes small files: greys, and shades of some hues for lines, fills, letters."""

import math
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

GREYS = 64
_SHADES = 16
WHITE = GREYS - 1
# Okabe and Ito, "Color universal design", 2008, somewhat brighter: they stand on black here.
HUES = {
    "right": (240, 165, 20),
    "left": (86, 190, 245),
    "landmark": (60, 225, 150),
    "atlas": (86, 190, 245),
    "subject": (250, 120, 40),
    "limit": (230, 140, 190),
}
_FONT_PX = 22
_FAINTEST = 48  # ink that is drawn, of 255

Pixels = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]


def shade(hue: str, strength: float = 1.0) -> int:
    """Return the palette's index of a hue, `strength` from above 0 to 1."""
    return GREYS + _SHADES * list(HUES).index(hue) + max(0, round(strength * _SHADES) - 1)


def palette() -> bytes:
    """Return red, green, blue of every index."""
    greys = np.repeat(np.linspace(0, 255, GREYS)[:, None], 3, axis=1)
    strengths = np.arange(1, _SHADES + 1)[:, None] / _SHADES
    return np.rint(np.concatenate([greys, *(strengths * rgb for rgb in HUES.values())])).astype(np.uint8).tobytes()


def grey(values: npt.NDArray[Any], low: float, high: float) -> Pixels:
    """Return grey levels of values, black at `low` and below, white at `high` and above."""
    return np.rint(np.clip((values - low) / (high - low), 0, 1) * WHITE).astype(np.uint8)


def outline(mask: Mask, width: int = 1) -> Mask:
    """Return the pixels of a mask that are at most `width` steps, up, down or aside, from its outside.

    What lies beyond the picture's edge counts as inside: a lung that the edge cuts is not closed there.
    """
    return np.asarray(mask & ~ndimage.binary_erosion(mask, iterations=width, border_value=1))


def write_text(pixels: Pixels, place: tuple[int, int], text: str, hue: str | None = None) -> int:
    """Write one line, white or in a hue, its left upper corner at (column, row); return the column after it."""
    left, top = place
    letters = Image.new("L", (text_width(text), _FONT_PX + 4))
    ImageDraw.Draw(letters).text((0, 0), text, fill=255, font=_font())
    target = pixels[top : top + letters.height, left : left + letters.width]
    ink = np.asarray(letters)[: target.shape[0], : target.shape[1]]
    shown = ink >= _FAINTEST
    target[shown] = grey(ink[shown], 0, 255) if hue is None else shade(hue, 0) + ink[shown] // (256 // _SHADES)
    return left + letters.width


def text_width(text: str) -> int:
    """Return how many pixels wide a line is."""
    return math.ceil(_font().getlength(text)) + 1


def wrapped(text: str, width_px: int) -> list[str]:
    """Return a text as lines, broken between words where they would be wider; a longer word has its own."""
    lines: list[str] = []
    for word in text.split():
        if lines and text_width(f"{lines[-1]} {word}") <= width_px:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def to_image(pixels: Pixels) -> Image.Image:
    """Return the picture of palette indices (row, column), to be saved as PNG."""
    image = Image.fromarray(pixels)
    image.putpalette(palette())
    return image


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_PX)
