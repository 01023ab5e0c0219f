"""PSNR and SSIM on the host, in float64, and the conversions they are taken after."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from common.config import unknown
from common.errors import ConfigError

ROUNDINGS = ("float", "nearest", "truncate")

# ITU-R BT.601 for RGB on [0, 1], as MATLAB's rgb2ycbcr has them: Y in [16, 235].
_LUMA = np.array([65.481, 128.553, 24.966])
_BLACK = 16.0
# Wang et al. 2004 (doi 10.1109/TIP.2003.819861), section III-C. The window is what
# scikit-image makes of this deviation, which it cuts at 3.5 of them.
_SIGMA = 1.5
_WINDOW = 11


def psnr(
    prediction: np.ndarray, target: np.ndarray, *, data_range: float = 255.0
) -> float:
    """Returns the peak signal-to-noise ratio in decibels: `20 log10(range / RMSE)`.

    The mean is over all elements, so that of a colour image is not the mean of its
    channels' ratios. Nothing is rounded or clipped here; see `to_bytes`.

    Args:
      prediction: `[H, W]` or `[H, W, C]`, of any number type.
      target: of the same shape and scale.
      data_range: the largest possible value less the smallest.

    Returns:
      Infinity when the two are equal, NaN when one holds a NaN.

    Raises:
      ValueError: the shapes differ, or there are no pixels.
    """
    prediction, target = _same_shape(prediction, target)
    square = float(np.mean(np.square(prediction - target)))
    if square == 0:
        return math.inf
    return 10 * math.log10(data_range**2 / square)


def ssim(
    prediction: np.ndarray, target: np.ndarray, *, data_range: float = 255.0
) -> float:
    """Returns the mean structural similarity with the settings of its authors.

    Those of Wang et al. 2004 and their MATLAB function: a Gaussian window of 11 x 11
    pixels and deviation 1.5, K1 = 0.01, K2 = 0.03, moments without the correction for
    sample size, no scaling down before, and only windows inside the image: five pixels
    at each border have no value. Of a colour image it is the mean of the channels.
    MATLAB's own `ssim` differs: it repeats the border pixels and counts the border, and
    takes a colour image for a volume.

    Args:
      prediction: `[H, W]` or `[H, W, C]`, of any number type.
      target: of the same shape and scale.
      data_range: the largest possible value less the smallest.

    Returns:
      At most 1, which only equal images have; NaN for an image narrower or lower than
      the window, which has no similarity by this definition.

    Raises:
      ValueError: the shapes differ, or there are no pixels.
    """
    prediction, target = _same_shape(prediction, target)
    if min(prediction.shape[:2]) < _WINDOW:
        return math.nan
    from skimage import metrics  # takes longer to import than most of this project

    similarity: Any = metrics.structural_similarity(
        prediction,
        target,
        data_range=data_range,
        channel_axis=-1 if prediction.ndim == 3 else None,
        gaussian_weights=True,
        sigma=_SIGMA,
        use_sample_covariance=False,
    )
    return float(similarity)


def rgb_to_y(image: np.ndarray, *, rounded: bool = False) -> np.ndarray:
    """Returns the luma of BT.601 with the weights and offset of MATLAB's rgb2ycbcr.

    Args:
      image: `[..., 3]` RGB on the scale [0, 255].
      rounded: to whole numbers, as MATLAB does when it is given bytes. The scripts
        that deraining papers share read 8-bit files, so they round.

    Returns:
      float64 `[...]`, 16 for black and 235 for white.

    Raises:
      ValueError: the last axis is not 3.
    """
    if image.shape[-1:] != (3,):
        raise ValueError(f"RGB has shape [..., 3], given {list(image.shape)}")
    luma = np.asarray(image, np.float64) @ (_LUMA / 255) + _BLACK
    # MATLAB rounds halves up; luma is positive.
    return np.floor(luma + 0.5) if rounded else luma


def to_bytes(image: np.ndarray, rounding: str) -> np.ndarray:
    """Returns a restored image on the scale [0, 255], as a score or a file needs it.

    Args:
      image: any shape, on the scale [0, 1], which a prediction may leave.
      rounding: `"float"`: 255 times the image, neither clipped nor rounded, what
        MAXIM's evaluation script scores; `"nearest"`: clipped and rounded;
        `"truncate"`: clipped and cut, what that script saves to PNG, half a level
        darker on average and the form in which the published scores were taken.

    Returns:
      float64 for `"float"`, else uint8.

    Raises:
      ConfigError: unknown `rounding`.
      ValueError: a value that is not finite has no byte.
    """
    if rounding not in ROUNDINGS:
        raise ConfigError(unknown("rounding", rounding, ROUNDINGS))
    values = np.asarray(image)
    if values.dtype != np.float64:
        # The script works in float32, where k / 255 * 255 is k again. In float64
        # a rounding error of the division would survive and be cut to k - 1.
        values = values.astype(np.float32)
    if rounding == "float":
        return (values * 255).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError("an image with values that are not finite has no bytes")
    scaled = np.clip(values, 0, 1) * 255
    return (np.rint(scaled) if rounding == "nearest" else scaled).astype(np.uint8)


def _same_shape(
    prediction: np.ndarray, target: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns both as float64, so that bytes do not wrap around."""
    if prediction.shape != target.shape or not prediction.size:
        raise ValueError(
            f"prediction {prediction.shape} and target {target.shape} must have one "
            "shape, with pixels"
        )
    return np.asarray(prediction, np.float64), np.asarray(target, np.float64)
