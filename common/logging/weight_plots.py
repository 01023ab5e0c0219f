"""A picture of the weights of examples: how they are spread, what they tell apart."""

import os
from pathlib import Path

import numpy as np

from common.logging.plot_style import (
    BLUE,
    GREY,
    INK,
    RED,
    new_figure,
    save,
    set_title,
    tidy,
)

_BINS = 40
_LOWEST = -12.0  # weights below 1e-12 of an equal share stand here


def histogram(
    relative: np.ndarray, path: str | os.PathLike[str], noisy: np.ndarray | None = None
) -> Path:
    """Draws how many examples have which weight.

    Args:
      relative: `[N]`, weights times `N`: 1 is an equal share.
      path: PNG file to write, atomically.
      noisy: bool `[N]`, where it is known which examples are wrong.

    Returns:
      `path`.
    """
    with np.errstate(divide="ignore"):
        logs = np.maximum(np.log10(relative), _LOWEST)
    edges = np.linspace(min(logs.min(), -0.1), max(logs.max(), 0.1), _BINS + 1)
    figure = new_figure(6.4, 3.2)
    axes = figure.subplots()
    groups = [("examples", BLUE, np.ones(len(logs), bool))]
    if noisy is not None and noisy.any():
        groups = [("clean", BLUE, ~noisy), ("wrong", RED, noisy)]
    for name, color, chosen in groups:
        label = f"{name}: {chosen.sum():,}"
        axes.hist(logs[chosen], edges, color=color, alpha=0.65, label=label)
    axes.axvline(0, color=GREY, lw=1, ls="--")
    axes.set_yscale("symlog", linthresh=10)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("weight, log10; 0 is an equal share", color=INK, fontsize=9.5)
    axes.set_ylabel("examples", color=INK, fontsize=9.5)
    set_title(axes, "Weights of the examples")
    tidy(axes)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return save(figure, path)
