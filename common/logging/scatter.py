"""A picture of predictions over the truth."""

import os
from pathlib import Path

import numpy as np

from common.logging.plot_style import (
    BLUE,
    GREY,
    INK,
    new_figure,
    save,
    set_title,
    tidy,
)

# So many dots are told apart; more are drawn fainter.
_DOTS = 500


def scatter(
    truth: np.ndarray,
    predicted: np.ndarray,
    path: str | os.PathLike[str],
    title: str,
    x_label: str,
    y_label: str,
) -> Path:
    """Draws a dot for each example, and the line on which both are equal.

    Args:
      truth: `[N]`.
      predicted: `[N]`.
      path: PNG file to write, atomically.
      title: above it.
      x_label: what the truth is, and its unit.
      y_label: what the prediction is.

    Returns:
      `path`.
    """
    figure = new_figure(4.6, 4.4)
    axes = figure.subplots()
    both = np.concatenate([truth, predicted])
    ends = [float(both.min()), float(both.max())]
    axes.plot(ends, ends, color=GREY, lw=1, ls="--")
    faint = min(0.7, 0.7 * (_DOTS / max(len(truth), 1)) ** 0.5)
    axes.scatter(truth, predicted, s=9, color=BLUE, alpha=faint, linewidths=0)
    axes.set_aspect("equal")
    axes.set_xlabel(x_label, color=INK, fontsize=9.5)
    axes.set_ylabel(y_label, color=INK, fontsize=9.5)
    set_title(axes, title)
    tidy(axes)
    return save(figure, path)
