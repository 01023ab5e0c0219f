"""Between stored sRGB values and linear light, in which optics and sensors work."""

from __future__ import annotations

import numpy as np

# IEC 61966-2-1.
_SLOPE, _OFFSET, _GAMMA = 12.92, 0.055, 2.4
_STORED_KNEE, _LINEAR_KNEE = 0.04045, 0.0031308


def to_linear(stored: np.ndarray) -> np.ndarray:
    """Returns the light of sRGB values; 1 is white in both.

    Below 0 the curve goes on as a line and above 1 as the power it is, so that noise
    which leaves the range survives.
    """
    # The base of the power is kept positive, where the line holds.
    base = (np.maximum(stored, _STORED_KNEE) + _OFFSET) / (1 + _OFFSET)
    return np.where(stored <= _STORED_KNEE, stored / _SLOPE, base**_GAMMA)


def to_srgb(linear: np.ndarray) -> np.ndarray:
    """Returns the sRGB values of light: the inverse of `to_linear`."""
    root = np.maximum(linear, _LINEAR_KNEE) ** (1 / _GAMMA)
    curve = (1 + _OFFSET) * root - _OFFSET
    return np.where(linear <= _LINEAR_KNEE, linear * _SLOPE, curve)
