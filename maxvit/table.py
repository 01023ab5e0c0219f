"""`--mode=table`: every variant at every published size, counted and compared."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from common import tables
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
    table = (HEADER, *rows(published.read_results()))
    return tables.write({"table": table}, workdir)


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
    """Returns the parameters and the cost of one image."""
    image = jax.ShapeDtypeStruct((1, size, size, 3), jnp.float32)
    return cost.of_model(models.create(variant, image_size=size), image)


def _ours(variant: str, size: int, results: Sequence[published.Result]) -> str:
    """Our results, each with its pre-training."""
    found = [
        f"{r.top1:.2f} ({published.TRAININGS[r.pretraining]})"
        for r in results
        if (r.variant, r.image_size) == (variant, size)
    ]
    return "; ".join(found) or "not run"
