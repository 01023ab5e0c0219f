"""What figures look like: colours, and how they are made and saved.

Colours are from Okabe and Ito, "Color Universal Design" (2008), which people with any
kind of colour vision tell apart. Figures are made through matplotlib's object API, so
no window, global state or backend is touched.
"""

import os
from pathlib import Path
from typing import Any

from common import atomic

BLUE, ORANGE, GREEN, RED, GREY = "#0072B2", "#E69F00", "#007A5A", "#C64600", "#5F6B76"
INK, LINE = "#1F2933", "#C9D1D9"
_DPI = 160


def new_figure(width: float, height: float) -> Any:
    """Returns an empty figure of so many inches."""
    from matplotlib.figure import Figure

    return Figure(
        figsize=(width, height), dpi=_DPI, layout="constrained", facecolor="white"
    )


def save(figure: Any, path: str | os.PathLike[str]) -> Path:
    """Writes a figure as PNG, atomically, and returns the path."""
    with atomic.replacing(path) as temporary:
        figure.savefig(temporary, format="png", bbox_inches="tight", pad_inches=0.12)
    return Path(path)


def set_title(axes: Any, text: str) -> None:
    """Gives axes a title on the left, shortened where it is long."""
    style = {"fontsize": 10.5, "color": INK, "weight": "bold", "parse_math": False}
    axes.set_title(shorten(text, 30), loc="left", **style)


def tidy(axes: Any) -> None:
    """Takes away what axes do not need, and makes the rest quiet."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.grid(axis="y", color=LINE, lw=0.6, alpha=0.6)
    axes.set_axisbelow(True)
    axes.tick_params(colors=GREY, labelsize=8.5, length=0, which="both")


def shorten(text: str, length: int = 22) -> str:
    """Returns text on one line, cut to a length."""
    text = " ".join(text.split())
    return text if len(text) <= length else text[: length - 1] + "…"
