"""A weight-free image descriptor: colour histogram and histogram of oriented gradients, by scikit-image."""

from importlib.metadata import version

import numpy as np
from PIL import Image

from fedmem.features.cache import FloatArray

NAME = "descriptor"
SIDE = 64  # pixels of the square every image is scaled to
COLOUR_BINS = (8, 4, 4)  # hue, saturation, value
ORIENTATIONS, CELL, BLOCK = 9, 16, 2  # the oriented gradients of Dalal and Triggs (2005): 3 x 3 blocks of 2 x 2 cells
DESCRIPTOR_DIM = 452  # 128 colours + 324 gradients


def descriptor_identity() -> str:
    """Name of the descriptor and of the library version that computes it."""
    return f"{NAME} (scikit-image {version('scikit-image')}, {DESCRIPTOR_DIM} dimensions)"


def describe_image(image: Image.Image) -> FloatArray:
    """Compute [452] = square-rooted HSV histogram [128] beside HOG [324], each of unit norm (HOG zero if flat)."""
    from skimage.color import rgb2hsv
    from skimage.feature import hog

    small = image.convert("RGB").resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    pixels = np.asarray(small, dtype=np.float64) / 255.0
    counts, _ = np.histogramdd(rgb2hsv(pixels).reshape(-1, 3), bins=COLOUR_BINS, range=((0, 1),) * 3)
    colours = np.sqrt(counts.ravel() / counts.sum())
    gradients = hog(pixels.mean(axis=2), ORIENTATIONS, pixels_per_cell=(CELL, CELL), cells_per_block=(BLOCK, BLOCK))
    norm = float(np.linalg.norm(gradients))
    gradients = gradients / norm if norm > 0 else gradients
    return np.concatenate([colours, gradients]).astype(np.float32)
