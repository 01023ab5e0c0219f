"""PSNR, SSIM and MS-SSIM on the host, in float64, and conversions before them.

They compare an image with another. What needs no other is in `common.metrics.niqe`.
"""

from __future__ import annotations

import math

import numpy as np

from common.config import unknown
from common.errors import ConfigError

ROUNDINGS = ("float", "nearest", "truncate")

# ITU-R BT.601 for RGB on [0, 1], as MATLAB's rgb2ycbcr has them: Y in [16, 235].
_LUMA = np.array([65.481, 128.553, 24.966])
_BLACK = 16.0
# Wang et al. 2004 (doi 10.1109/TIP.2003.819861), section III-C.
_WINDOW, _SIGMA, _K1, _K2 = 11, 1.5, 0.01, 0.03
# Wang et al. 2003 (doi 10.1109/ACSSC.2003.1292216), finest scale first.
_SCALE_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])
# The least that four halvings, which round up, leave as wide as the window.
_LEAST_SIDE = (_WINDOW - 1) * 2 ** (len(_SCALE_WEIGHTS) - 1) + 1


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
      ValueError: the shapes differ, are none of an image, or there are no pixels.
    """
    pairs = _channels(prediction, target, _WINDOW)
    return _mean([_one_scale(*pair, data_range)[0] for pair in pairs])


def ms_ssim(
    prediction: np.ndarray, target: np.ndarray, *, data_range: float = 255.0
) -> float:
    """Returns the multi-scale structural similarity of Wang et al. 2003.

    Contrast and structure at five scales, luminance at the coarsest only: the product
    of their means at powers that the authors fitted to observers. Windows and constants
    are those of `ssim`; from scale to scale 2 x 2 pixels are averaged, the last row and
    column of an odd size repeated, as in the authors' MATLAB function. Of a colour
    image it is the mean of the channels.

    A scale whose mean is negative, as that of a negative image is, has no real power:
    it counts as 0, as in packages for TensorFlow and PyTorch, and so does the channel.

    Args:
      prediction: `[H, W]` or `[H, W, C]`, of any number type.
      target: of the same shape and scale.
      data_range: the largest possible value less the smallest.

    Returns:
      In [0, 1]; NaN for an image narrower or lower than 161 pixels, whose coarsest
      scale is smaller than the window.

    Raises:
      ValueError: the shapes differ, are none of an image, or there are no pixels.
    """
    pairs = _channels(prediction, target, _LEAST_SIDE)
    return _mean([_all_scales(*pair, data_range) for pair in pairs])


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


def _channels(
    prediction: np.ndarray, target: np.ndarray, least: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns the pairs of channels, none of images with a side less than `least`."""
    images = _same_shape(prediction, target)
    if prediction.ndim not in (2, 3):
        raise ValueError(f"an image is [H, W] or [H, W, C], given {prediction.shape}")
    if min(prediction.shape[:2]) < least:
        return []
    planes = (np.moveaxis(np.atleast_3d(image), -1, 0) for image in images)
    return list(zip(*map(np.ascontiguousarray, planes), strict=True))


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _one_scale(x: np.ndarray, y: np.ndarray, data_range: float) -> tuple[float, float]:
    """Returns the mean similarity of a channel, and that of contrast and structure."""
    import cv2

    def mean(values: np.ndarray) -> np.ndarray:
        blurred = cv2.GaussianBlur(values, (_WINDOW, _WINDOW), _SIGMA)
        margin = _WINDOW // 2  # What is nearer to the border saw beyond it.
        return blurred[margin:-margin, margin:-margin]

    # All products of moments follow from those of the sum and of the difference, such
    # as 4 cov(x, y) = var(x + y) - var(x - y): one blur less, and equal images give 1
    # without a rounding error.
    total, difference = x + y, x - y
    a, b = np.square(mean(total)), np.square(mean(difference))
    var_a, var_b = mean(np.square(total)) - a, mean(np.square(difference)) - b
    c1, c2 = (2 * np.square([_K1, _K2]) * data_range**2).tolist()
    contrast = (var_a - var_b + c2) / (var_a + var_b + c2)
    similarity = (a - b + c1) / (a + b + c1) * contrast
    return float(np.mean(similarity)), float(np.mean(contrast))


def _all_scales(x: np.ndarray, y: np.ndarray, data_range: float) -> float:
    """Returns the multi-scale similarity of one channel."""
    scores = [_one_scale(x, y, data_range)]
    for _ in _SCALE_WEIGHTS[1:]:
        x, y = _halved(x), _halved(y)
        scores.append(_one_scale(x, y, data_range))
    means = [contrast for _, contrast in scores[:-1]] + [scores[-1][0]]
    return float(np.prod(np.maximum(means, 0) ** _SCALE_WEIGHTS))


def _halved(channel: np.ndarray) -> np.ndarray:
    """Averages 2 x 2 pixels; an odd side repeats its last ones."""
    height, width = channel.shape
    even = np.pad(channel, ((0, height % 2), (0, width % 2)), mode="edge")
    rows = even[::2] + even[1::2]
    return (rows[:, ::2] + rows[:, 1::2]) / 4
