"""Lossy compression on board and at delivery: wavelets, and JPEG of any bands."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from common.data.degradations.jpeg import Jpeg

_ROOT = math.sqrt(0.5)


def haar_shrink(image: np.ndarray, threshold: float, levels: int = 2) -> np.ndarray:
    """Returns the image with its wavelet details moved towards 0 by a threshold.

    Orthonormal Haar wavelets, in which white noise keeps its standard deviation; the
    means of blocks of `2**levels` pixels stay what they are.

    Args:
      image: float32 `[H, W, C]`, any sides; they are filled up with their border.
      threshold: at least 0, in the image's units.
      levels: of the decomposition.
    """
    if not levels:
        return image
    height, width = image.shape[:2]
    pad = ((0, height % 2), (0, width % 2), (0, 0))
    even = np.pad(image, pad, mode="edge") if height % 2 or width % 2 else image
    low, high = _split(even, 0)
    (low, across), (along, diagonal) = _split(low, 1), _split(high, 1)
    low = haar_shrink(low, threshold, levels - 1)
    across, along, diagonal = (_soft(d, threshold) for d in (across, along, diagonal))
    joined = _join(_join(low, across, 1), _join(along, diagonal, 1), 0)
    return joined[:height, :width]


def jpeg(image: np.ndarray, quality: int, subsampling: str = "4:4:4") -> np.ndarray:
    """Returns what JPEG keeps of the image, float32, rounded to 8 bits before.

    Args:
      image: `[H, W, C]`, 1 is white. Three bands are RGB in one file, of any other
        number each is a grey file of its own.
      quality: of libjpeg, 1 to 100.
      subsampling: of the chroma of three bands, as `Jpeg` has it.
    """
    if image.shape[2] == 3:
        # The quality being fixed, the generator decides nothing.
        return Jpeg(quality, subsampling)(image, np.random.default_rng(0))
    return np.stack([_grey(band, quality) for band in np.moveaxis(image, 2, 0)], 2)


def jpeg_bands(image: np.ndarray, quality: int) -> np.ndarray:
    """Returns the image with each band compressed by itself, as on board.

    JPEG has 8 bits and the sensor more: the square root is stored, which gives photon
    noise the same width everywhere (our choice).

    Args:
      image: light, `[H, W, C]`; clipped to [0, 1].
      quality: of libjpeg, 1 to 100.
    """
    stored = np.sqrt(np.clip(image, 0, 1))
    return np.stack(
        [_grey(band, quality) ** 2 for band in np.moveaxis(stored, 2, 0)], axis=2
    )


def _grey(band: np.ndarray, quality: int) -> np.ndarray:
    values = np.rint(np.clip(band, 0, 1) * 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(values).save(file, "JPEG", quality=quality)
    with Image.open(file) as image:
        return np.asarray(image, np.float32) / np.float32(255)


def _split(image: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns scaled sums and differences of neighbours along an axis."""
    first, second = (
        (image[0::2], image[1::2]) if axis == 0 else (image[:, 0::2], image[:, 1::2])
    )
    return (first + second) * _ROOT, (first - second) * _ROOT


def _join(low: np.ndarray, high: np.ndarray, axis: int) -> np.ndarray:
    """Returns what `_split` split."""
    pair = np.stack([(low + high) * _ROOT, (low - high) * _ROOT], axis=axis + 1)
    shape = list(low.shape)
    shape[axis] *= 2
    return pair.reshape(shape)


def _soft(details: np.ndarray, threshold: float) -> np.ndarray:
    """Returns the details nearer to 0 by the threshold, none beyond it."""
    return details - np.clip(details, -threshold, threshold)
