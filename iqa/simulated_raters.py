"""People who do not exist compare two versions of a picture.

No person was asked: preferences drawn here stand in for votes where there are none, in
demonstrations and tests. All numbers are our choice. The model is of the kind that
studies of visible differences use, and none of the metrics that are compared with it:

1. Pictures are seen blurred, luma (BT.601) by the eye's optics, chroma more, in pixels.
2. An error is seen when it exceeds a threshold, which busy surroundings raise (contrast
   masking): `threshold + masking * deviation of the reference's luma around`.
3. Errors in units of their thresholds are pooled to `v`, the fourth root of the mean of
   their fourth powers, so that the worst places count (Quick 1974), and a version is
   worth `-gain * log(1 + v)`: nobody prefers among errors that cannot be seen.
4. A rater prefers the version that is worth more after an error of standard deviation 1
   was added to each (Thurstone 1927, case V); in a few votes they do not look.
"""

from __future__ import annotations

import math

import numpy as np

RATERS = 32  # as CIQA has for each pair
# Standard deviations of the blur, in pixels; of chroma with the weight of its errors.
_SHARP, _CHROMA_SHARP, _CHROMA_WEIGHT = 0.7, 1.5, 1.0
_THRESHOLD, _MASKING, _AROUND = 2.0, 0.35, 4.0  # levels of 255, share, pixels
_GAIN = 8.0
_LAPSE = 0.02
# Rows: Y, Cb, Cr of ITU-R BT.601, as JPEG has them (T.871).
_PLANES = np.array(
    [
        [0.299, 0.587, 0.114],
        [-0.168736, -0.331264, 0.5],
        [0.5, -0.418688, -0.081312],
    ],
    np.float32,
)


def worth(reference: np.ndarray, version: np.ndarray) -> float:
    """Returns what a version is worth to the raters: 0 for the reference, else less.

    Args:
      reference: uint8 `[H, W, 3]`.
      version: of the same size.
    """
    import cv2

    planes = reference.astype(np.float32) @ _PLANES.T
    error = planes - version.astype(np.float32) @ _PLANES.T
    luma = np.ascontiguousarray(planes[..., 0])
    mean = cv2.GaussianBlur(luma, (0, 0), _AROUND)
    power = cv2.GaussianBlur(luma * luma, (0, 0), _AROUND)
    around = np.sqrt(np.maximum(power - mean * mean, 0))
    seen = [
        cv2.GaussianBlur(np.ascontiguousarray(error[..., k]), (0, 0), sigma)
        for k, sigma in enumerate((_SHARP, _CHROMA_SHARP, _CHROMA_SHARP))
    ]
    square = seen[0] ** 2 + _CHROMA_WEIGHT**2 * (seen[1] ** 2 + seen[2] ** 2)
    ratio = square / np.square(_THRESHOLD + _MASKING * around)
    pooled = float(np.mean(np.square(ratio, dtype=np.float64)) ** 0.25)
    return -_GAIN * math.log1p(pooled)


def probability(gap: float) -> float:
    """Returns how likely a rater prefers a version that is worth so much more."""
    sure = (1 + math.erf(gap / 2)) / 2  # the errors' difference has deviation sqrt(2)
    return (1 - _LAPSE) * sure + _LAPSE / 2


def preference(gap: float, rng: np.random.Generator, raters: int = RATERS) -> float:
    """Returns the share of the raters who prefer the second version.

    Args:
      gap: what the second is worth more than the first.
      rng: draws their votes.
      raters: how many vote, each once.
    """
    return float(rng.binomial(raters, probability(gap)) / raters)
