"""Filters of float32 images `[H, W]` or `[H, W, C]`, by OpenCV in one thread."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


@functools.cache
def opencv() -> Any:
    """Returns OpenCV, imported late, restricted to the thread that calls it.

    Every worker of the input pipeline would start threads on all cores.
    """
    import cv2

    cv2.setNumThreads(1)
    return cv2


def convolve(image: np.ndarray, kernel: np.ndarray) -> np.ndarray:
    """Returns the convolution with a kernel of odd sides; borders are mirrored."""
    cv2 = opencv()
    # OpenCV correlates.
    flipped = np.ascontiguousarray(kernel[::-1, ::-1])
    return cv2.filter2D(image, -1, flipped, borderType=cv2.BORDER_REFLECT_101)


def gaussian(image: np.ndarray, sigma: float) -> np.ndarray:
    """Returns the image blurred by a Gaussian of `sigma` pixels; 0 leaves it."""
    cv2 = opencv()
    if sigma <= 0:
        return image
    return cv2.GaussianBlur(image, (0, 0), sigma, borderType=cv2.BORDER_REFLECT_101)


def sample(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Returns the bilinear values at float32 pixel coordinates `[H, W]`."""
    cv2 = opencv()
    border = cv2.BORDER_REFLECT_101
    return cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=border)


def smooth_field(
    height: int, width: int, cells: int, rng: np.random.Generator
) -> np.ndarray:
    """Returns a smooth random field `[height, width]` in [-1, 1].

    Args:
      height: of the field.
      width: of the field.
      cells: independent values along each side, between which it is interpolated.
      rng: draws them.
    """
    cv2 = opencv()
    coarse = rng.uniform(-1, 1, (cells, cells)).astype(np.float32)
    fine = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    # Cubic interpolation overshoots.
    return np.clip(fine, -1, 1)
