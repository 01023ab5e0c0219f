"""How much of an image's fine structure a restored one has, wherever it is."""

from __future__ import annotations

import numpy as np

from common.errors import DataError


def sharpness_error(image: np.ndarray, target: np.ndarray) -> float:
    """Returns `|log2(S(image) / S(target))|`, S the mean length of gradients of luma.

    0 where both are as sharp; 1 where one has half or twice the gradients, by blur or
    by ringing and noise. Unlike PSNR it does not ask where details are. Our choice:
    means of finite differences, of luma by the weights of BT.601.

    Args:
      image: `[H, W, 3]`, on any scale.
      target: of the same shape, on the same scale.

    Raises:
      DataError: the shapes differ, or are none of images with two pixels a side.
    """
    if image.shape != target.shape or image.ndim != 3 or min(image.shape[:2]) < 2:
        raise DataError(
            f"sharpness compares images [H, W, 3], given {list(image.shape)} and "
            f"{list(target.shape)}"
        )
    ours, theirs = _gradients(image), _gradients(target)
    if not ours and not theirs:
        return 0.0
    # A flat image beside a structured one: no less than the rounding of 8 bits.
    least = 1e-3 * max(ours, theirs)
    return float(abs(np.log2(max(ours, least) / max(theirs, least))))


def _gradients(image: np.ndarray) -> float:
    luma = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    down, right = np.diff(luma, axis=0)[:, :-1], np.diff(luma, axis=1)[:-1]
    return float(np.hypot(down, right).mean())
