"""Geometric self-ensemble: the mean over the eight views of a square's symmetry."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def ensemble(
    function: Callable[[np.ndarray], np.ndarray], image: np.ndarray
) -> np.ndarray:
    """Applies a function to an image turned and mirrored in all ways, and averages.

    Eight times the work. Of an image that is not square, the views have two sizes.

    Args:
      function: `[h, w, C]` -> the same shape, for both orders of the sides.
      image: `[H, W, C]`.

    Returns:
      `[H, W, C]`, the mean of the results turned back; a function that commutes with
      turning and mirroring gives what it gives without an ensemble, to the last bit.
    """
    mean = function(image).copy()
    for count in range(1, 8):
        turns, mirrored = count % 4, count >= 4
        view = np.rot90(image[:, ::-1] if mirrored else image, turns)
        result = np.rot90(function(np.ascontiguousarray(view)), -turns)
        mean += ((result[:, ::-1] if mirrored else result) - mean) / (count + 1)
    return mean
