"""What the weights of examples are like: how even they are, what they have found."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from absl import logging

# Our choice: below this share of the examples the weights are said to have gathered.
_COLLAPSED = 0.01


def summarize(
    log_weights: np.ndarray, noise_mask: np.ndarray | None = None
) -> dict[str, float]:
    """Returns the measures of weights that sum to 1, or to less.

    Args:
      log_weights: `[N]`.
      noise_mask: bool `[N]`, True for bad examples, where that is known.

    Returns:
      `ess_share`, the effective sample size 1 / sum(w^2) divided by `N`;
      `largest_weight`, times `N`; and with a mask of both kinds of examples
      `noisy_mass`, the share of the weight that the bad ones have, `noise_auroc` of
      low weight as a sign of a bad example, and `noise_precision`, the share of bad
      ones among as many of the lowest weights as there are bad ones.
    """
    logw = np.asarray(log_weights, np.float64)
    count = len(logw)
    weights = np.exp(logw - logw.max())
    weights /= weights.sum()
    metrics = {
        "ess_share": float(1 / np.sum(weights**2) / count),
        "largest_weight": float(weights.max() * count),
    }
    if noise_mask is None or noise_mask.all() or not noise_mask.any():
        return metrics
    from sklearn.metrics import roc_auc_score

    # -inf is the lowest weight there is, and no number that a sort by sklearn takes.
    score = -np.maximum(logw, np.finfo(np.float64).min)
    lowest = np.argsort(logw, kind="stable")[: noise_mask.sum()]
    return metrics | {
        "noisy_mass": float(weights[noise_mask].sum()),
        "noise_auroc": float(roc_auc_score(noise_mask, score)),
        "noise_precision": float(noise_mask[lowest].mean()),
    }


def warn_if_collapsed(metrics: Mapping[str, float], count: int) -> None:
    """Warns when nearly all weight is on a few examples."""
    effective = metrics["ess_share"] * count
    if effective < max(_COLLAPSED * count, 1.5) and count > 1:
        logging.warning(
            "the weights have gathered on few examples: effective sample size %.1f of "
            "%d (lower config.reweighting.eta, or set clean_fraction, pull or share)",
            effective,
            count,
        )
