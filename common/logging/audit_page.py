"""The page of the examples that a training run believed least."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from common import atomic
from common.logging import page, thumbnails

_STYLE = (
    thumbnails.STYLE
    + """
.examples .wrong { box-shadow: inset 0 3px #c64600; }
.examples .right { box-shadow: inset 0 3px #007a5a; }
"""
)


@dataclasses.dataclass(frozen=True)
class Entry:
    """One example on the page.

    Attributes:
      image: what the data holds, decoded; None where it cannot be read.
      name: of the file, or of the place in the data.
      weight: times the number of examples: 1 is an equal share.
      label: that it came with; None for data without labels.
      suggestion: what the final model says, with `confidence`, if it was asked.
      confidence: in [0, 1].
      truth: the right label, where it is known.
    """

    image: Image.Image | None
    name: str
    weight: float
    label: str | None = None
    suggestion: str | None = None
    confidence: float | None = None
    truth: str | None = None


def write(
    path: Path,
    entries: Sequence[Entry],
    *,
    count: int,
    measures: Mapping[str, Any],
    classes: Sequence[tuple[str, float, float]],
    pictures: Sequence[tuple[str, Path]],
) -> Path:
    """Writes the page, atomically.

    Args:
      path: of the page.
      entries: the lowest weight first.
      count: of all examples.
      measures: name -> value, the most important first.
      classes: name, share of the examples and share of the weight of every class.
      pictures: caption and path of each.

    Returns:
      `path`.
    """
    body = [
        page.section("Weights", page.cards(measures)),
        page.section("How to read it", _explanation(entries, count)),
        page.section(
            f"The {len(entries)} lowest weights",
            thumbnails.grid([*map(_example, entries)]),
        ),
        page.section("Spread", "".join(page.figure(p, c) for c, p in pictures)),
        page.section("Classes", _classes(classes)),
    ]
    summary = f"{count:,} training examples, those the model believed least first"
    text = page.document("Noise audit", summary, "".join(body), _STYLE)
    with atomic.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="replace")
    return path


def _explanation(entries: Sequence[Entry], count: int) -> str:
    lines = [
        "The weight of an example falls each time the model fails on it. The ones "
        "below stayed hard to the end: because their label is wrong, because the "
        "picture is spoilt or shows several things, or because it is right and rare. "
        "Look before you delete: the list finds candidates, not errors.",
        "Weights are given as multiples of an equal share, 1 / "
        f"{count:,}. A class that lost most of its weight (last table) may be hard as "
        "a whole rather than mislabelled.",
    ]
    if any(entry.truth is not None for entry in entries):
        lines.append(
            "The noise in this data is known: an orange edge marks a label that is "
            "wrong, a green one a label that is right."
        )
    lines.append(
        "The whole list, of all examples, is noise_audit.csv beside this page."
    )
    text = "".join(f"<p>{page.escape(line)}</p>" for line in lines)
    return f'<div class="note">{text}</div>'


def _example(entry: Entry) -> str:
    lines = []
    if entry.label is not None:
        lines.append(f"labelled <b>{page.escape(entry.label)}</b>")
    if entry.suggestion is not None:
        sure = "" if entry.confidence is None else f" ({100 * entry.confidence:.0f} %)"
        lines.append(f"model: <b>{page.escape(entry.suggestion)}</b>{sure}")
    if entry.truth is not None and entry.truth != entry.label:
        lines.append(f"in truth <b>{page.escape(entry.truth)}</b>")
    lines.append(f"weight {entry.weight:.2g}")
    mark = ""
    if entry.truth is not None:
        mark = "right" if entry.truth == entry.label else "wrong"
    return thumbnails.card(entry.image, entry.name, lines, mark)


def _classes(classes: Sequence[tuple[str, float, float]]) -> str:
    """The classes that lost most of their weight first."""
    rows = [
        (name, f"{100 * examples:.1f} %", f"{100 * weight:.1f} %", weight / examples)
        for name, examples, weight in classes
        if examples > 0
    ]
    if not rows:
        return ""
    rows.sort(key=lambda row: row[-1])
    header = ("class", "share of the examples", "share of the weight", "ratio")
    return page.table(header, rows)
