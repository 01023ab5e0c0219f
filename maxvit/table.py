"""`--mode=table`: every variant at every published size, counted and compared."""

from __future__ import annotations

import csv
import functools
import io
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from common import atomic
from common.models import cost
from maxvit import models, published

HEADER = (
    "variant",
    "size",
    "parameters",
    "multiply-adds G",
    "published G",
    "activations M",
    "timm M",
    *published.TRAININGS.values(),
    "ours",
)


def run(workdir: str | None) -> str:
    """Returns the table as Markdown and as CSV.

    Args:
      workdir: where `table.md` and `table.csv` are written too, if anywhere.

    Raises:
      DataError: the file of our results has a mistake.
    """
    results = published.read_results()
    table = list(rows(results))
    texts = {"table.md": markdown(table), "table.csv": as_csv(table)}
    if workdir is not None:
        for name, text in texts.items():
            with atomic.replacing(Path(workdir) / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    return "\n".join(texts.values()).rstrip()


def rows(results: Sequence[published.Result]) -> Iterator[tuple[str, ...]]:
    """Yields the cells below `HEADER`, for 1000 classes and one image."""
    for variant in published.VARIANTS:
        for index, size in enumerate(published.SIZES):
            parameters, counted = count(variant, size)
            top1 = [
                published.TOP1[training].get(variant, (None,) * 3)[index]
                for training in published.TRAININGS
            ]
            yield (
                variant,
                str(size),
                str(parameters),
                f"{counted.multiply_adds / 1e9:.2f}",
                str(published.MULTIPLY_ADDS[variant][index]),
                f"{counted.activations / 1e6:.1f}",
                str(published.TIMM_ACTIVATIONS[variant][index]),
                *("" if value is None else f"{value:.2f}" for value in top1),
                _ours(variant, size, results),
            )


@functools.cache
def count(variant: str, size: int) -> tuple[int, cost.Cost]:
    """Returns the parameters and the cost of one image, from one trace."""
    model = models.create(variant, image_size=size)
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    # Initialising runs the model once; drawing the weights multiplies nothing.
    jaxpr, variables = jax.make_jaxpr(model.init, return_shape=True)(
        jax.eval_shape(lambda: jax.random.key(0)), image
    )
    sizes = [math.prod(leaf.shape) for leaf in jax.tree.leaves(variables["params"])]
    return sum(sizes), cost.of_jaxpr(jaxpr.jaxpr)


def _ours(variant: str, size: int, results: Sequence[published.Result]) -> str:
    """Our results, each with its pre-training."""
    found = [
        f"{r.top1:.2f} ({published.TRAININGS[r.pretraining]})"
        for r in results
        if (r.variant, r.image_size) == (variant, size)
    ]
    return "; ".join(found) or "not run"


def markdown(table: Sequence[Sequence[str]]) -> str:
    """Returns a table for a README, numbers aligned to the right."""
    cells = [[_grouped(cell) for cell in row] for row in (HEADER, *table)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = [
        "| " + " | ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    rule = "|" + "|".join("-" * (width + 1) + ":" for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]]) + "\n"


def _grouped(cell: str) -> str:
    """Separates thousands of whole numbers; an empty cell is a dash."""
    return f"{int(cell):,}" if cell.isdecimal() else cell or "-"


def as_csv(table: Sequence[Sequence[str]]) -> str:
    """Returns the table as CSV; what is not published stays empty."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([HEADER, *table])
    return text.getvalue()
