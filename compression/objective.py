"""What a pair of tables is judged by: rate, distortion, and a classifier's accuracy.

The paper (2008.00605) trades the three for each other by gradient descent through a
differentiable codec and entropy estimator; the terms below are our reconstruction.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError
from compression import jpeg, rate, rounding
from compression.jpeg import Components

LOG_HIGHEST = math.log(255)  # a step of baseline JPEG is in [1, 255]


Judge = Callable[[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
"""A frozen classifier: from images `[B, H, W, 3]` in [0, 255] and labels `[B]` to its
loss and to whether it is right, both `[B]`."""


@flax.struct.dataclass
class Terms:
    """What one set of tables does to each image.

    Attributes:
      mse: `[B]`, mean squared error on the scale [0, 255].
      bpp: `[B]`, estimated bits per pixel of the scan.
      cross_entropy: `[B]`, of the classifier on the decoded image, in nats; 0 without.
      correct: `[B]`, whether its first choice is the label; 0 without.
    """

    mse: jax.Array
    bpp: jax.Array
    cross_entropy: jax.Array
    correct: jax.Array

    def psnr(self) -> jax.Array:
        """Returns the peak signal-to-noise ratio `[B]` in decibels."""
        # Equal images have a large number in place of infinity.
        return 10 * jnp.log10(255**2 / jnp.maximum(self.mse, 1e-8))


@dataclasses.dataclass(frozen=True)
class Objective:
    """`distortion * MSE + accuracy * cross entropy + rate_weight * bits per pixel`.

    Rate-distortion has weights (1, 0), rate-accuracy (0, 1), and both at once
    (1, lambda_A).

    Attributes:
      distortion: weight of the squared error on the scale [0, 255].
      accuracy: weight of the cross entropy.
      subsampling: of the chroma.
      rounding: of coefficients; a key of `jpeg.ROUNDINGS` with a gradient.
    """

    distortion: float = 1.0
    accuracy: float = 0.0
    subsampling: str = "4:4:4"
    rounding: str = "straight_through"

    def __post_init__(self):
        if self.subsampling not in jpeg.SUBSAMPLINGS:
            raise ConfigError(
                unknown("subsampling", self.subsampling, jpeg.SUBSAMPLINGS)
            )
        choices = [name for name in jpeg.ROUNDINGS if name != "hard"]
        if self.rounding not in choices:
            raise ConfigError(unknown("rounding", self.rounding, choices))
        for name in ("distortion", "accuracy"):
            weight = getattr(self, name)
            if not (math.isfinite(weight) and weight >= 0):
                raise ConfigError(f"weight {name}={weight} must be at least 0")
        if not self.distortion + self.accuracy:
            raise ConfigError("one of the weights distortion and accuracy is needed")

    def terms(
        self,
        tables: jax.Array,
        images: jax.Array,
        coefficients: Components,
        model: rate.Estimator,
        key: jax.Array,
        step: jax.Array | int = 0,
        judge: Judge | None = None,
        labels: jax.Array | None = None,
    ) -> Terms:
        """Compresses images and measures.

        Args:
          tables: `[2, 8, 8]`, or one pair for each image.
          images: `[B, H, W, 3]` in [0, 255].
          coefficients: of the images, see `jpeg.coefficients`.
          model: estimates the bits.
          key: of the noise in the rate, and of rounding by noise.
          step: of an optimiser that keeps its key; see `rate.dither`.
          judge: of the decoded images.
          labels: `[B]`, what they show.
        """
        height, width = images.shape[1:3]
        noise = rate.dither(key, step, coefficients)
        levels = jpeg.quantize(
            coefficients, tables, self.rounding, jax.random.fold_in(key, step)
        )
        decoded = jpeg.decode(
            jpeg.dequantize(levels, tables),
            (height, width),
            self.subsampling,
            self.rounding,
        )
        error = decoded - images.astype(jnp.float32)
        entropy = correct = jnp.zeros(len(images))
        if judge is not None and labels is not None:
            entropy, right = judge(decoded, labels)
            correct = right.astype(jnp.float32)
        return Terms(
            mse=jnp.mean(jnp.square(error), axis=(1, 2, 3)),
            bpp=model.bits(coefficients, tables, noise) / (height * width),
            cross_entropy=entropy,
            correct=correct,
        )

    def start(self, rate_weight: float) -> np.ndarray:
        """Returns steps `[2, 8, 8]` to begin with.

        At high rates every coefficient has the error T^2 / 12 and the rate falls by
        1 / (T ln 2): the best step is then the same for all. Without a weight on
        distortion it is Annex K at quality 50.
        """
        if not self.distortion:
            return jpeg.quality_tables(50)
        step = math.sqrt(6 * rate_weight / (self.distortion * math.log(2)))
        return np.full((2, 8, 8), min(max(step, 1), 255))

    def loss(self, terms: Terms, rate_weight: jax.Array | float) -> jax.Array:
        """Returns the loss `[B]`."""
        loss = rate_weight * terms.bpp
        # A weight of zero must not cost a backward pass.
        if self.distortion:
            loss += self.distortion * terms.mse
        if self.accuracy:
            loss += self.accuracy * terms.cross_entropy
        return loss


def to_tables(log_tables: jax.Array) -> jax.Array:
    """Returns the steps in [1, 255] that the optimiser's logarithms stand for."""
    return jnp.exp(rounding.bounded(log_tables, 0.0, LOG_HIGHEST))


def to_integers(log_tables: Any) -> np.ndarray:
    """Returns tables as a file can hold them: int32 in [1, 255]."""
    tables = np.exp(np.clip(np.asarray(log_tables, np.float64), 0, LOG_HIGHEST))
    return np.clip(np.rint(tables), 1, 255).astype(np.int32)
