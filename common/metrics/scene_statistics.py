"""What NIQE sees of an image: statistics of blocks at two scales.

Mittal, Soundararajan and Bovik 2013 (doi 10.1109/LSP.2012.2227726), section II, in the
numbers of the authors' MATLAB release. NumPy float64 on the host.
"""

from __future__ import annotations

import numpy as np

from common.config import unknown
from common.errors import ConfigError
from common.metrics import aggd
from common.metrics.image import rgb_to_y

LUMAS = ("ycbcr", "gray")
# Side of a block in pixels; section II-B.
BLOCK = 96
# Of two scales; section II-C.
FEATURES = 2 * aggd.FEATURES
# MATLAB's rgb2gray: the first row of the inverse of the matrix from YIQ to RGB.
_GRAY = np.array([0.298936021293775, 0.587043074451121, 0.114020904255103])
# The release's window, 7 x 7 pixels of this deviation; section II-A.
_RADIUS, _SIGMA = 3, 7 / 6
# Deviations of grey levels that are whole numbers are larger, rounding errors smaller.
_NOISE = 1e-9


def describe(image: np.ndarray, luma: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the features of blocks and their sharpness.

    Args:
      image: `[H, W]`, `[H, W, 1]` or `[H, W, 3]` on the scale [0, 255], of any number
        type.
      luma: see `niqe.score`.

    Returns:
      float64 `[N, 36]`, row by row of the image, see `niqe.features`, and the mean
      local deviation of levels, `[N]`. Without a whole block N is 0.

    Raises:
      ConfigError: unknown `luma`.
      ValueError: the image has another shape or values that are not finite.
    """
    plane = _plane(np.asarray(image), luma)
    height, width = (side // BLOCK * BLOCK for side in plane.shape)
    if not height * width:
        return np.empty((0, FEATURES)), np.empty(0)
    plane = plane[:height, :width]
    structure, deviation = _normalized(plane)
    blocks = [_blocks(structure, BLOCK)]
    sharpness = _blocks(deviation, BLOCK).mean((1, 2))
    blocks.append(_blocks(_normalized(_halved(plane))[0], BLOCK // 2))
    return np.concatenate([aggd.describe(b) for b in blocks], axis=1), sharpness


def _plane(image: np.ndarray, luma: str) -> np.ndarray:
    """Returns the levels `[H, W]` that are looked at, whole numbers."""
    if luma not in LUMAS:
        raise ConfigError(unknown("luma of NIQE", luma, LUMAS))
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[..., 0]
    if image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise ValueError(
            f"an image is [H, W], [H, W, 1] or [H, W, 3], given {list(image.shape)}"
        )
    plane = np.asarray(image, np.float64)
    if not np.isfinite(plane).all():
        raise ValueError("an image with values that are not finite has no score")
    if image.ndim == 3:
        plane = rgb_to_y(plane) if luma == "ycbcr" else plane @ _GRAY
    # As MATLAB, halves up.
    return np.floor(plane + 0.5)


def _normalized(plane: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns levels less their local mean over deviation, equation 1; and the latter.

    Where a plane is flat the difference is exactly 0. Without that it would be rounding
    noise, with a sign and so with a say in the distributions.
    """
    from scipy import ndimage

    taps = np.exp(-np.square(np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) / 2)
    taps /= taps.sum()

    def mean(values: np.ndarray) -> np.ndarray:
        rows = ndimage.correlate1d(values, taps, 0, mode="nearest")
        return ndimage.correlate1d(rows, taps, 1, mode="nearest")

    centre = mean(plane)
    deviation = np.sqrt(np.abs(mean(np.square(plane)) - np.square(centre)))
    difference = plane - centre
    difference[np.abs(difference) < _NOISE] = 0
    return difference / (deviation + 1), deviation


def _halved(plane: np.ndarray) -> np.ndarray:
    """Returns `[H / 2, W / 2]` as MATLAB's `imresize(plane, 0.5)`, of even sides.

    The bicubic kernel of Keys 1981 with a = -1/2, twice as wide so that nothing is
    aliased, borders mirrored.
    """
    # At the distances 1/4, 3/4, 5/4 and 7/4 of a pixel of the result, out of 256.
    half = np.array([111, 29, -9, -3]) / 256
    taps = np.concatenate([half[::-1], half])
    for axis in (0, 1):
        padding = [(3, 3) if i == axis else (0, 0) for i in (0, 1)]
        padded = np.moveaxis(np.pad(plane, padding, mode="symmetric"), axis, 0)
        length = plane.shape[axis]
        parts = (
            tap * padded[start : start + length : 2] for start, tap in enumerate(taps)
        )
        plane = np.moveaxis(sum(parts, np.zeros(())), 0, axis)
    return plane


def _blocks(plane: np.ndarray, side: int) -> np.ndarray:
    """Returns `[N, side, side]`, row by row."""
    height, width = plane.shape
    tiles = plane.reshape(height // side, side, width // side, side)
    return tiles.swapaxes(1, 2).reshape(-1, side, side)
