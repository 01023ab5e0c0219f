"""`--mode=table`: every variant counted, every published score beside ours."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp

from common import tables
from common.models import cost
from maxim import models, published

SIZE = 256  # of the paper's FLOPs
# Ours computes the same with fewer products, and the paper counts XLA's way: sums and
# activations too.
VARIANTS = (
    "variant",
    "parameters",
    "published M",
    "GFLOP of products",
    "published GFLOP",
)
SCORES = (
    "checkpoint",
    "variant",
    "test set",
    "channels",
    "PSNR",
    "SSIM",
    "source",
    "ours",
)


def run(workdir: str | None) -> str:
    """Returns the tables as Markdown and as CSV.

    Args:
      workdir: where `variants.*` and `scores.*` are written too, if anywhere.

    Raises:
      DataError: the file of our results has a mistake.
    """
    # Read first: counting takes a while.
    scores = (SCORES, *score_rows(published.read_results()))
    return tables.write(
        {"variants": (VARIANTS, *variant_rows()), "scores": scores}, workdir
    )


def variant_rows() -> Iterator[tuple[str, ...]]:
    """Yields the cells below `VARIANTS`, for three scales and one image."""
    for variant in published.VARIANTS:
        parameters, counted = count(variant)
        sizes = published.SIZES.get(variant, ("", ""))
        yield (
            variant,
            str(parameters),
            str(sizes[0]),
            f"{2 * counted.multiply_adds / 1e9:.1f}",
            str(sizes[1]),
        )


@functools.cache
def count(variant: str) -> tuple[int, cost.Cost]:
    """Returns the parameters and the cost of one image with all outputs."""
    image = jax.ShapeDtypeStruct((1, SIZE, SIZE, 3), jnp.float32)
    return cost.of_model(models.create(variant, num_supervision_scales=3), image)


def score_rows(results: Sequence[published.Result]) -> Iterator[tuple[str, ...]]:
    """Yields the cells below `SCORES`."""
    for checkpoint in published.CHECKPOINTS.values():
        for score in checkpoint.scores:
            ours = [
                f"{r.psnr:.2f} / {r.ssim:.3f} ({r.weights} weights)"
                for r in results
                if (r.checkpoint, r.test_set) == (checkpoint.name, score.test_set)
            ]
            yield (
                checkpoint.name,
                checkpoint.variant,
                score.test_set,
                checkpoint.channels,
                f"{score.psnr:.2f}",
                f"{score.ssim:.3f}",
                published.SOURCES[score.source],
                "; ".join(ours) or "not run",
            )
