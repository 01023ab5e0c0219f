"""People who do not exist: votes drawn from a stated model.

A rater has a bias of their own, and every vote an error: of a picture of quality `q` on
the scale of scores, rater `r` votes `round(q + bias_r + error)`, kept within the scale.
Both are Gaussian. All numbers are our choice; nothing here was measured on people.
"""

from __future__ import annotations

import numpy as np

RATERS = 100
BIAS, ERROR = 0.6, 1.0  # standard deviations, in scores


def histogram(
    quality: float, rng: np.random.Generator, raters: int = RATERS, scores: int = 10
) -> np.ndarray:
    """Returns how many of the raters gave each score from 1 on, int64 `[scores]`.

    Args:
      quality: of the picture, on the scale of scores.
      rng: draws the raters and their votes.
      raters: who vote, each once.
      scores: the highest score.
    """
    spread = rng.normal(0, BIAS, raters) + rng.normal(0, ERROR, raters)
    given = np.clip(np.rint(quality + spread), 1, scores).astype(np.int64)
    return np.bincount(given - 1, minlength=scores)
