"""Moving images between grids: turned ones, and finer ones."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from common.data.degradations.filters import opencv
from enhancement.satellite_optics import cubic_weight

INTERPOLATIONS = ("bilinear", "cubic", "lanczos")
# Pixels of border that the widest interpolation (Lanczos, 8 x 8) reads.
_MARGIN = 4


def similarity(zoom: float, rotation: float) -> np.ndarray:
    """Returns the matrix `[2, 2]` that turns and enlarges a picture about its centre.

    Args:
      zoom: above 1 shows things larger.
      rotation: in degrees, counter-clockwise as one sees it.
    """
    angle = math.radians(rotation)
    cosine, sine = math.cos(angle), math.sin(angle)
    # x points right and y down.
    return zoom * np.array([[cosine, sine], [-sine, cosine]])


def warp(
    image: np.ndarray,
    matrix: np.ndarray,
    shift: tuple[float, float] = (0.0, 0.0),
    size: tuple[int, int] | None = None,
    interpolation: str = "cubic",
) -> np.ndarray:
    """Returns the image moved by `x -> matrix x + shift` about the centres.

    OpenCV rounds places to 1/32 pixel, and its cubic convolution has a = -3/4. Outside
    its borders the image is mirrored.

    Args:
      image: float32 `[H, W, C]`.
      matrix: `[2, 2]`, acts on (x, y) from the centre.
      shift: (x, y) in pixels, to the right and down.
      size: (height, width) of the result, which has the same centre; without it that
        of the image.
      interpolation: one of `INTERPOLATIONS`.
    """
    cv2 = opencv()
    flags = {
        "bilinear": cv2.INTER_LINEAR,
        "cubic": cv2.INTER_CUBIC,
        "lanczos": cv2.INTER_LANCZOS4,
    }[interpolation]
    height, width = size or image.shape[:2]
    back = np.linalg.inv(matrix)
    middle = np.array([width - 1, height - 1]) / 2 + np.asarray(shift)
    source = np.array([image.shape[1] - 1, image.shape[0] - 1]) / 2
    table = np.column_stack([back, source - back @ middle])

    def part(bands: np.ndarray) -> np.ndarray:
        return cv2.warpAffine(
            bands,
            table,
            (width, height),
            flags=flags | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_REFLECT_101,
        )

    return by_four_bands(part, image)


def by_four_bands(
    function: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> np.ndarray:
    """Returns `[h, w, C]` of a function of OpenCV that takes at most four bands."""
    parts = []
    for first in range(0, image.shape[2], 4):
        part = function(np.ascontiguousarray(image[..., first : first + 4]))
        # OpenCV drops the axis of a single band.
        parts.append(part.reshape(*part.shape[:2], -1))
    return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=2)


def there_and_back(
    image: np.ndarray, matrix: np.ndarray, interpolation: str
) -> np.ndarray:
    """Returns the image resampled to another grid and to its own again.

    What is where stays; the blur of two interpolations is left.

    Args:
      image: float32 `[H, W, C]`.
      matrix: `[2, 2]`, to the other grid.
      interpolation: of both.
    """
    height, width = image.shape[:2]
    reach = np.abs(matrix) @ (width, height)
    other = (math.ceil(reach[1]) + 2 * _MARGIN, math.ceil(reach[0]) + 2 * _MARGIN)
    there = warp(image, matrix, size=other, interpolation=interpolation)
    back = np.linalg.inv(matrix)
    return warp(there, back, size=(height, width), interpolation=interpolation)


def enlarge(image: np.ndarray, factor: int) -> np.ndarray:
    """Returns the image enlarged by cubic convolution, a = -1/2; borders are mirrored.

    Both cover the same ground: pixel `i` is centred on `factor * (i + 0.5) - 0.5`. Not
    OpenCV's, whose a = -3/4 makes steps of an even slope.

    Args:
      image: float32 `[H, W, C]`.
      factor: of both sides.
    """
    return _enlarge_axis(_enlarge_axis(image, factor, 0), factor, 1)


def _enlarge_axis(image: np.ndarray, factor: int, axis: int) -> np.ndarray:
    # The new pixels of one old pixel, and the old ones around it that they see.
    places = (np.arange(factor) + 0.5) / factor - 0.5
    weights = cubic_weight(places[:, None] - np.arange(-2, 3)).astype(np.float32)
    pad = [(2, 2) if a == axis else (0, 0) for a in range(3)]
    padded = np.moveaxis(np.pad(image, pad, mode="symmetric"), axis, 0)
    side = image.shape[axis]
    near = np.stack([padded[start : start + side] for start in range(5)])
    large = np.einsum("pk,k...->p...", weights, near)
    joined = np.moveaxis(large, 0, 1).reshape(factor * side, *padded.shape[1:])
    return np.moveaxis(joined, 0, axis)
