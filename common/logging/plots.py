"""Figures of a run: curves, points, confusion matrices and sample images.

What they look like is in `plot_style`.
"""

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common.logging.plot_style import (
    BLUE,
    GREEN,
    GREY,
    INK,
    LINE,
    ORANGE,
    RED,
    new_figure,
    save,
    set_title,
    shorten,
    tidy,
)

_NAMED = {"green": GREEN, "red": RED}
# Neighbours differ for any kind of colour vision; for none, there are the markers.
_STYLES = tuple(zip((BLUE, RED, INK, ORANGE, "#56B4E9", GREEN), "osD^vP", strict=True))
_PRINTED_CLASSES = 15
_MATRIX_CLASSES = 50
_PAIRS = 20
_PANELS = 12


def curves(records: Sequence[Mapping[str, Any]], path: str | os.PathLike[str]) -> Path:
    """Draws loss, evaluation metrics, learning rate and speed over the steps.

    Args:
      records: Metrics as `writers.read_metrics` returns them.
      path: PNG file to write, atomically.

    Returns:
      `path`.
    """
    names = _panels(records)
    columns = min(3, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    figure = new_figure(4.2 * columns, 2.9 * rows)
    if not names:
        figure.text(0.5, 0.5, "No metrics yet", ha="center", color=GREY, fontsize=13)
    grid = figure.subplots(rows, columns, squeeze=False).ravel() if names else []
    for axes, name in zip(grid, names, strict=False):
        _curve(axes, records, name)
    for axes in grid[len(names) :]:
        axes.remove()
    for axes in grid[max(0, len(names) - columns) : len(names)]:
        axes.set_xlabel("step", color=INK, fontsize=9)
    last = max((record["step"] for record in records), default=1)
    for axes in grid[: len(names)]:
        axes.set_xlim(-0.02 * last, 1.03 * max(last, 1))
    return save(figure, path)


def lines(
    panels: Mapping[str, Mapping[str, tuple[Any, Any]]],
    path: str | os.PathLike[str],
    *,
    x_label: str,
    y_label: str,
    log_x: bool = False,
    reference: tuple[str, float] | None = None,
) -> Path:
    """Draws named series of points joined by lines, such as what codecs reach.

    Args:
      panels: Titles ("" for none) of panels side by side, and of each its series:
          names, up to 6 in all, which look alike in all panels, with an x and a y
          (`[N]`, N from 0, joined in this order; a point that is not finite or not on
          the scale leaves a gap). After 12 panels the others are only counted.
      path: PNG file to write, atomically.
      x_label: What x is, and its unit.
      y_label: What y is, and its unit.
      log_x: Whether equal ratios of x are equally far apart.
      reference: Name and y of a horizontal line through all panels.

    Returns:
      `path`.

    Raises:
      ValueError: No names or too many, or an x and y of different lengths.
    """
    names = list(dict.fromkeys(name for panel in panels.values() for name in panel))
    if not 0 < len(names) <= len(_STYLES):
        raise ValueError(f"{len(names)} series, from 1 to {len(_STYLES)} are drawn")
    styles = dict(zip(names, _STYLES, strict=False))
    shown = list(panels.items())[:_PANELS]
    columns = min(3, len(shown))
    rows = math.ceil(len(shown) / columns)
    figure = new_figure(*((5.6, 4.2) if columns == 1 else (4.2 * columns, 3.3 * rows)))
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(shown) :]:
        axes.remove()
    for axes, (title, panel) in zip(grid, shown, strict=False):
        set_title(axes, title)
        _points(axes, panel, styles, log_x, reference)
    for axes in grid[max(0, len(shown) - columns) : len(shown)]:
        axes.set_xlabel(x_label, color=INK, fontsize=9.5)
    for axes in grid[: len(shown) : columns]:
        axes.set_ylabel(y_label, color=INK, fontsize=9.5)
    if len(panels) > len(shown):
        more = f"and {len(panels) - len(shown)} more, not drawn"
        figure.supxlabel(more, color=GREY, fontsize=9.5)
    _legend(figure, styles)
    return save(figure, path)


def confusion_matrix(
    matrix: np.ndarray, class_names: Sequence[str], path: str | os.PathLike[str]
) -> Path:
    """Draws which classes are taken for which.

    Up to 50 classes give a matrix with one colour per share of the true class (the
    counts are printed up to 15 classes); more give bars of the most confused pairs.

    Args:
      matrix: Counts `[K, K]`, true class by predicted class.
      class_names: K names.
      path: PNG file to write, atomically.

    Returns:
      `path`.

    Raises:
      ValueError: The shapes do not fit.
    """
    matrix = np.asarray(matrix)
    if matrix.ndim != 2 or set(matrix.shape) != {len(class_names)}:
        raise ValueError(
            f"matrix of shape {matrix.shape} for {len(class_names)} class names"
        )
    names = [shorten(name) for name in class_names]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    small = len(names) <= _MATRIX_CLASSES
    figure = (_matrix if small else _pairs)(matrix, shares, names)
    return save(figure, path)


def image_grid(
    images: Sequence[np.ndarray],
    captions: Sequence[str],
    path: str | os.PathLike[str],
    colors: Sequence[str] | None = None,
    columns: int | None = None,
) -> Path:
    """Draws images in a grid, each with a caption below.

    Args:
      images: Arrays `[H, W, 3]`, `[H, W, 1]` or `[H, W]`, uint8 or float in [0, 1];
          sizes may differ.
      captions: One per image, such as "3 → 8 (91 %)".
      path: PNG file to write, atomically.
      colors: One per image for caption and frame: "green" and "red" are shades
          that colour-blind readers tell apart, others are matplotlib colours.
      columns: Of the grid; a bit more than rows by default.

    Returns:
      `path`.

    Raises:
      ValueError: There are no images, or lengths differ.
    """
    colors = [LINE] * len(images) if colors is None else colors
    if not len(images) or not len(images) == len(captions) == len(colors):
        raise ValueError(
            f"{len(images)} images, {len(captions)} captions, {len(colors)} colours"
        )
    columns = columns or _columns(len(images))
    rows = math.ceil(len(images) / columns)
    tall = max(image.shape[0] / image.shape[1] for image in images)
    figure = new_figure(1.55 * columns, (1.45 * min(tall, 2) + 0.3) * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[len(images) :]:
        axes.remove()
    content = zip(grid, images, captions, colors, strict=False)
    for axes, image, caption, color in content:
        _picture(axes, image, caption, color)
    return save(figure, path)


def _columns(count: int) -> int:
    """Columns of a grid a bit wider than tall with few empty places at its end."""
    low, high = math.ceil(math.sqrt(count)), math.ceil(1.7 * math.sqrt(count))
    return min(range(min(low, 8), min(high, 8) + 1), key=lambda n: (-count % n, n))


def _panels(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """Names to draw: loss, evaluation metrics, learning rate, speed."""
    seen: dict[str, set[str]] = {}
    for record in records:
        for name, value in record.items():
            if name not in ("step", "kind", "time") and isinstance(value, int | float):
                seen.setdefault(name, set()).add(record.get("kind", "train"))
    loss = [name for name in seen if name == "loss"]
    rates = [name for name in seen if _is_rate(name)]
    speeds = [name for name in seen if _is_speed(name)]
    chosen = {*loss, *rates, *speeds}
    metrics = [n for n, kinds in seen.items() if "eval" in kinds and n not in chosen]
    return loss + metrics + rates + speeds


def _is_rate(name: str) -> bool:
    return name.rsplit("/", 1)[-1] in ("lr", "learning_rate")


def _is_speed(name: str) -> bool:
    return name.endswith(("_per_second", "_per_sec"))


def _curve(axes: Any, records: Sequence[Mapping[str, Any]], name: str) -> None:
    train, evaluation = (_series(records, name, kind) for kind in ("train", "eval"))
    both = len(train[0]) and len(evaluation[0])
    if len(train[0]):
        _train_line(axes, *train, smooth=not _is_rate(name))
    if len(evaluation[0]):
        marker = "o" if len(evaluation[0]) <= 40 else None
        axes.plot(*evaluation, color=RED, lw=1.7, marker=marker, ms=3.5, label="eval")
    if both:
        axes.legend(frameon=False, fontsize=8.5, labelcolor=INK, handlelength=1.4)
    last = (evaluation if len(evaluation[0]) else train)[1]
    finite = last[np.isfinite(last)]
    _titles(axes, name, f"{finite[-1]:.4g}" if len(finite) else "not finite")
    values = np.concatenate([train[1], evaluation[1]])
    values = values[np.isfinite(values)]
    # A warm-up starts the learning rate at zero, which a log scale cannot show.
    if name == "loss" and len(values) and values.min() > 0:
        if values.max() / values.min() > 20:
            axes.set_yscale("log")
    elif _is_speed(name):
        axes.set_ylim(bottom=0)
    elif _is_rate(name):
        axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
        axes.yaxis.get_offset_text().set(color=GREY, fontsize=8)
    tidy(axes)


def _train_line(axes: Any, steps: np.ndarray, values: np.ndarray, smooth: bool) -> None:
    if not smooth or len(steps) < 30:
        axes.plot(steps, values, color=BLUE, lw=1.7, label="train")
        return
    axes.plot(steps, values, color=BLUE, lw=0.7, alpha=0.3)
    axes.plot(steps, _smoothed(values), color=BLUE, lw=1.7, label="train")


def _smoothed(values: np.ndarray) -> np.ndarray:
    """Centred running mean over a thirtieth of the run, blind to NaN."""
    radius = max(1, len(values) // 60)
    finite = np.isfinite(values)
    sums = np.concatenate([[0], np.cumsum(np.where(finite, values, 0))])
    counts = np.concatenate([[0], np.cumsum(finite)])
    index = np.arange(len(values))
    # A window cut only on one side would shift the ends of a falling curve.
    reach = np.minimum(radius, np.minimum(index, len(values) - 1 - index))
    low, high = index - reach, index + reach + 1
    count = counts[high] - counts[low]
    mean = (sums[high] - sums[low]) / np.maximum(count, 1)
    return np.where(count > 0, mean, np.nan)


def _series(
    records: Sequence[Mapping[str, Any]], name: str, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    points = [
        (record["step"], record[name])
        for record in records
        if record.get("kind", "train") == kind
        and isinstance(record.get(name), int | float)
    ]
    array = np.asarray(points, np.float64).reshape(-1, 2)
    # A line ends at a gap; infinities would stretch the axis.
    return array[:, 0], np.where(np.isfinite(array[:, 1]), array[:, 1], np.nan)


def _points(
    axes: Any,
    panel: Mapping[str, tuple[Any, Any]],
    styles: Mapping[str, tuple[str, str]],
    log_x: bool,
    reference: tuple[str, float] | None,
) -> None:
    shown = [np.empty(0)]
    for name, content in panel.items():
        x, y = (np.asarray(values, np.float64) for values in content)
        if x.ndim != 1 or x.shape != y.shape:
            raise ValueError(f"series {name!r}: x {x.shape} and y {y.shape}")
        good = np.isfinite(x) & np.isfinite(y) & ((x > 0) | (not log_x))
        shown.append(x[good])
        # What is named first lies on top.
        order = 3 - 0.1 * list(styles).index(name)
        axes.plot(np.where(good, x, np.nan), y, **_line(*styles[name]), zorder=order)
    tidy(axes)
    axes.grid(axis="x", color=LINE, lw=0.6, alpha=0.6)
    axes.tick_params(axis="x", pad=6)
    if reference:
        name, height = reference
        axes.axhline(height, color=GREY, lw=1.2, dashes=(5, 3), zorder=1)
        place = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points"}
        style = {"color": GREY, "fontsize": 8.5, "parse_math": False}
        axes.annotate(name, (0, height), (4, 3), **place, **style)
        axes.margins(y=0.1)
    if log_x:
        _log_ticks(axes, np.concatenate(shown))


def _line(color: str, marker: str) -> dict[str, Any]:
    style = {"mec": "white", "mew": 0.7, "ms": 7 if marker == "P" else 6, "lw": 1.7}
    return {"color": color, "marker": marker, **style}


def _log_ticks(axes: Any, values: np.ndarray) -> None:
    """Sets a log scale with plain numbers, at 1, 2 and 5 of each power of ten."""
    from matplotlib import ticker

    axes.set_xscale("log")
    # In a narrow range there are few of those, or none.
    narrow = len(values) and values.min() < values.max() < 6 * values.min()
    even, usual = ticker.MaxNLocator(5, steps=[1, 2, 5, 10]), ticker.LogLocator
    axes.xaxis.set_major_locator(even if narrow else usual(subs=(1, 2, 5)))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.xaxis.set_major_formatter(ticker.FuncFormatter(lambda value, _: f"{value:g}"))


def _legend(figure: Any, styles: Mapping[str, tuple[str, str]]) -> None:
    """Names the series once for all panels, above them and over no line."""
    from matplotlib.lines import Line2D

    fitting = int(12 * figure.get_figwidth() / (8 + max(map(len, styles))))
    legend = figure.legend(
        [Line2D([], [], **_line(*style)) for style in styles.values()],
        list(styles),
        loc="outside upper left",
        ncols=max(1, min(fitting, len(styles))),
        frameon=False,
        fontsize=9.5,
        labelcolor=INK,
    )
    for text in legend.get_texts():
        text.set_parse_math(False)


def _matrix(matrix: np.ndarray, shares: np.ndarray, names: list[str]) -> Any:
    from matplotlib.colors import PowerNorm

    count = len(names)
    side = min(11.0, max(3.2, 0.55 * count if count <= _PRINTED_CLASSES else 8.5))
    figure = new_figure(side + 1.7, side + 1.1)
    axes = figure.subplots()
    # In a large matrix the errors are thin: the square root makes them visible.
    norm = PowerNorm(1 if count <= _PRINTED_CLASSES else 0.5, vmin=0, vmax=1)
    shown = axes.imshow(shares, cmap="Blues", norm=norm, aspect="equal")
    size = 9.5 if count <= _PRINTED_CLASSES else max(5.5, 9.5 - 0.08 * count)
    upright = count <= _PRINTED_CLASSES and max(map(len, names)) <= 3
    style = {"fontsize": size, "color": INK, "parse_math": False}
    turned = {} if upright else {"rotation": 90 if count > 20 else 45}
    if turned.get("rotation") == 45:
        turned |= {"ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(range(count), names, **style, **turned)
    axes.set_yticks(range(count), names, **style)
    axes.set_xlabel("predicted class", fontsize=10.5, color=INK)
    axes.set_ylabel("true class", fontsize=10.5, color=INK)
    if count <= _PRINTED_CLASSES:
        _print_counts(axes, matrix, shares)
    # White gaps separate the cells without drawing lines.
    axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
    axes.grid(which="minor", color="white", lw=1.2 if count <= 20 else 0.4)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_visible(False)
    bar = figure.colorbar(shown, ax=axes, shrink=0.7, aspect=30, pad=0.02)
    ticks = (0, 0.1, 0.25, 0.5, 1)
    bar.set_ticks(ticks, labels=[f"{tick:.0%}" for tick in ticks], color=INK)
    bar.ax.tick_params(length=0, labelsize=8.5)
    bar.outline.set_visible(False)
    total = max(matrix.sum(), 1)
    axes.set_title(
        f"Share of each true class · accuracy {np.trace(matrix) / total:.1%}",
        fontsize=10.5,
        color=INK,
        pad=10,
    )
    return figure


def _print_counts(axes: Any, matrix: np.ndarray, shares: np.ndarray) -> None:
    for (row, column), share in np.ndenumerate(shares):
        if matrix[row, column]:
            axes.text(
                column,
                row,
                f"{matrix[row, column]:.0f}",
                ha="center",
                va="center",
                fontsize=8.5 if matrix.max() < 10_000 else 6.5,
                color="white" if share > 0.5 else INK,
            )


def _pairs(matrix: np.ndarray, shares: np.ndarray, names: list[str]) -> Any:
    wrong = np.array(matrix, dtype=np.float64)
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:_PAIRS]
    pairs = [
        (int(i), int(j)) for i, j in np.stack(np.unravel_index(order, wrong.shape), 1)
    ]
    pairs = [pair for pair in pairs if wrong[pair] > 0]
    figure = new_figure(8, 0.8 + 0.27 * max(len(pairs), 3))
    axes = figure.subplots()
    counts = [wrong[pair] for pair in pairs]
    axes.barh(range(len(pairs)), counts, color=BLUE, height=0.72)
    for row, pair in enumerate(pairs):
        text = f" {wrong[pair]:.0f}  ({shares[pair]:.0%} of class)"
        axes.text(wrong[pair], row, text, va="center", fontsize=8.5, color=GREY)
    labels = [f"{names[i]} → {names[j]}" for i, j in pairs]
    axes.set_yticks(range(len(pairs)), labels, fontsize=9, color=INK, parse_math=False)
    axes.set_xlim(0, max(counts, default=1) * 1.25)
    axes.set_ylim(max(len(pairs), 1) - 0.4, -0.6)
    axes.set_xticks([])
    axes.tick_params(length=0)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(LINE)
    total = max(matrix.sum(), 1)
    axes.set_title(
        f"Most frequent confusions (true → predicted) · {len(names)} classes, "
        f"accuracy {np.trace(matrix) / total:.1%}",
        fontsize=10.5,
        color=INK,
        loc="left",
    )
    return figure


def _picture(axes: Any, image: np.ndarray, caption: str, color: str) -> None:
    image = np.asarray(image)
    image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
    if image.dtype != np.uint8:
        image = np.clip(np.nan_to_num(image.astype(np.float32)), 0, 1)
    limit = 255 if image.dtype == np.uint8 else 1
    # Few pixels are shown as they are; many are averaged rather than skipped.
    how = "nearest" if max(image.shape[:2]) < 100 else "antialiased"
    axes.imshow(image, cmap="gray", vmin=0, vmax=limit, interpolation=how)
    color = _NAMED.get(color, color)
    ink = INK if color == LINE else color
    axes.set_xlabel(
        shorten(caption, 26), color=ink, fontsize=8.5, labelpad=4, parse_math=False
    )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color(color)
    axes.spines[:].set_linewidth(0.8 if color == LINE else 2)


def _titles(axes: Any, name: str, last: str) -> None:
    """The name on the left and the latest value on the right."""
    set_title(axes, name.replace("_", " "))
    axes.set_title(last, loc="right", fontsize=9.5, color=GREY)
