"""Bits of a JPEG scan, estimated by functions that can be differentiated.

An estimator is a pytree with one method, `bits(coefficients, tables, noise)`. It looks at
what a scan codes: every coefficient divided by its step, the DC replaced by its
difference to the previous block of the component. That order is raster order here; a
scan with halved chroma takes the luma in another one.

Laplace and LearnedCdf are densities. Rounding is replaced by uniform noise, after which
the rate is smooth in the tables (Balle et al. 2018, arXiv 1802.01436). LogMagnitude and
Nonzero count levels; what they count is interpolated between the integers, which is its
expectation when levels are rounded with noise and needs no noise drawn: on integers it
is the count itself, and between them it has the gradient that the count has not.
`compression.calibration` measures how well each of them predicts a scan.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import flax
import jax
import jax.numpy as jnp
import numpy as np

from common.config import unknown
from common.errors import ConfigError
from compression import learned_cdf
from compression.jpeg import Components, per_component, quality_tables

# The largest dither is 1/2 less half of this: a density must not see halves.
_GRAIN = 2.0**-23
# 2**32 times the fractions of the golden ratio and of the square root of 2, whose
# multiples cover the unit interval evenly.
_BLOCK_STRIDE, _STEP_STRIDE = 2654435769, 1779033704
# Our choice. Channels of a smaller mean magnitude hold rounding errors of the transform
# at most: they have this scale, and no noise, which would cost what nothing costs.
_EMPTY = 1e-2
# Tables around those of this quality are used in the training of a learned density.
_TRAINED_QUALITY = 50
_LEAST_MASS = 1e-9  # of a level under a learned density; so is it in its peers


class Estimator(Protocol):
    """What all estimators can do."""

    def bits(
        self,
        coefficients: Components,
        tables: jax.Array | np.ndarray,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan.

        Args:
          coefficients: as `jpeg.coefficients` returns them, not yet divided.
          tables: `[2, 8, 8]` or `[3, 8, 8]`, or these for every image, positive.
          noise: as `dither` returns it; by default always the same. Counts use none.

        Returns:
          float32 `[B]`, differentiable in coefficients and tables.

        Raises:
          ConfigError: tables of another shape.
        """
        ...


def dither(
    key: jax.Array, step: jax.Array | int, coefficients: Components
) -> Components:
    """Returns noise for `bits`, uniform in (-1/2, 1/2).

    It is a lattice with a random offset for each component and frequency, so every value
    is uniform, and those of neighbouring blocks and steps are spread evenly, for which
    few blocks do. It costs three integer operations where it is used. All images of a
    batch get the same.

    Args:
      key: of the offsets.
      step: of the optimiser: the next one turns the noise on.
      coefficients: whose shapes it is for.

    Returns:
      Float32 arrays `[1, rows, columns, 8, 8]`.
    """
    offsets = jax.random.bits(key, (3, 8, 8), jnp.uint32)
    offsets += jnp.asarray(step).astype(jnp.uint32) * np.uint32(_STEP_STRIDE)
    y, cb, cr = (
        _lattice(*values.shape[1:3], offset)
        for values, offset in zip(coefficients, offsets, strict=True)
    )
    return y, cb, cr


def _lattice(rows: int, columns: int, offset: jax.Array) -> jax.Array:
    block = jnp.arange(rows * columns, dtype=jnp.uint32) * np.uint32(_BLOCK_STRIDE)
    # Unsigned sums wrap around, and 23 bits are what the fraction of a float holds.
    bits = (block.reshape(1, rows, columns, 1, 1) + offset) >> np.uint32(9)
    return (bits.astype(jnp.float32) + 0.5) * _GRAIN - 0.5


@flax.struct.dataclass
class Laplace:
    """A Laplace density per component and frequency, of fixed width.

    A level has the scale `scale / table`: the tables change the rate analytically, and
    nothing has to be learned along with them. The width is that of clean coefficients;
    fitted to noisy levels it would charge for the noise, too.

    Attributes:
      scale: `[3, 8, 8]`, mean magnitude of the coefficients; constant, without gradient.
    """

    scale: jax.Array

    def bits(
        self,
        coefficients: Components,
        tables: jax.Array | np.ndarray,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan.

        Args:
          coefficients: as `jpeg.coefficients` returns them, not yet divided.
          tables: `[2, 8, 8]` or `[3, 8, 8]`, or these for every image, positive.
          noise: as `dither` returns it; by default always the same.

        Returns:
          float32 `[B]`, differentiable in coefficients and tables.

        Raises:
          ConfigError: tables of another shape.
        """
        noise = _noise_or_default(noise, coefficients)
        total = jnp.zeros(())
        for values, step, scale, added in zip(
            differences(coefficients),
            per_component(tables),
            self.scale,
            noise,
            strict=True,
        ):
            scale = jax.lax.stop_gradient(scale)
            added = jnp.where(scale < _EMPTY, 0, added)
            total += _sum(
                _laplace_nats(values, step, jnp.maximum(scale, _EMPTY), added)
            )
        return total / np.log(2)


@jax.custom_jvp
def _laplace_nats(values, step, scale, noise):
    """Returns minus the logarithm of the mass between the noisy level -1/2 and +1/2.

    With a = |level| and r = step / scale, the reciprocal of the level's own scale, it is
    exp(-a r) sinh(r / 2) from a = 1/2 on: the logarithm is linear in a. Below it is
    1 - exp(-r / 2) cosh(a r).
    """
    return _laplace_parts(values, step, scale, noise)[0]


def _laplace_parts(values, step, scale, noise):
    level = values / step + noise
    size, ratio = jnp.abs(level), step / scale
    # Both exponents are negative, and a product of exponentials stays in range.
    near = jnp.exp((jnp.minimum(size, 0.5) - 0.5) * ratio)
    far = jnp.exp(-ratio) / jnp.maximum(near, 1e-35)
    mass = 1 - 0.5 * (near + far)
    beyond = (size - 0.5) * ratio + (np.log(2) - jnp.log(-jnp.expm1(-ratio)))
    return jnp.where(size < 0.5, -jnp.log(mass), beyond), level, near, far, mass


@_laplace_nats.defjvp
def _laplace_nats_jvp(primals, tangents):
    # One chain of elementwise operations per derivative, which XLA fuses with the sum
    # behind it: with its own derivatives, intermediates take most of the time.
    values, step, scale, _ = primals
    nats, level, near, far, mass = _laplace_parts(*primals)
    size, ratio, inside = jnp.abs(level), step / scale, jnp.abs(level) < 0.5
    half = 0.5 / mass
    slope = jnp.where(inside, (near - far) * half, 1) * ratio
    by_ratio = jnp.where(
        inside,
        (size * (near - far) - 0.5 * (near + far)) * half,
        (size - 0.5) - 1 / jnp.expm1(ratio),
    )
    by_value = slope * jnp.sign(level) / step
    by_step = by_ratio / scale - by_value * (values / step)
    return nats, by_value * tangents[0] + by_step * tangents[1]


@flax.struct.dataclass
class LearnedCdf:
    """A learned density per component and frequency, in units of coefficients.

    See `compression.learned_cdf`. Levels are brought to those units by the tables, which
    therefore change the rate analytically, as with `Laplace`, whose tails it corrects
    for ten times the work. Training on tables of all kinds is our choice, and so is the
    scale.

    Attributes:
      scale: `[3, 8, 8]`, mean magnitude of the coefficients; constant, without gradient.
      params: of the density of coefficients divided by it.
    """

    scale: jax.Array
    params: learned_cdf.Params

    def bits(
        self,
        coefficients: Components,
        tables: jax.Array | np.ndarray,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan, as `Laplace.bits`."""
        noise = _noise_or_default(noise, coefficients)
        scales = jax.lax.stop_gradient(self.scale)
        channels = jax.tree.map(
            lambda x: jnp.moveaxis(x.reshape(*x.shape[:-1], 3, 8, 8), -3, 0),
            self.params,
        )
        total = jnp.zeros(())
        for number, (values, step, added) in enumerate(
            zip(differences(coefficients), per_component(tables), noise, strict=True)
        ):
            scale, empty = jnp.maximum(scales[number], _EMPTY), scales[number] < _EMPTY
            noisy = (values + step * jnp.where(empty, 0, added)) / scale
            params = jax.tree.map(lambda x, number=number: x[number], channels)
            mass = learned_cdf.log_mass(params, noisy, step / scale / 2)
            nats = -jnp.maximum(mass, np.log(_LEAST_MASS))
            total += _sum(jnp.where(empty & (values == 0), 0, nats))
        return total / np.log(2)


@flax.struct.dataclass
class LogMagnitude:
    """`slope * sum of log2(1 + |level|) + intercept * pixels`.

    The defaults are `compression.calibration`'s; see there for its images.

    Attributes:
      slope: bits per unit of the sum.
      intercept: bits per pixel, of luma and with its padding.
    """

    slope: float | jax.Array = 2.7
    intercept: float | jax.Array = 0.065

    def bits(
        self,
        coefficients: Components,
        tables: jax.Array | np.ndarray,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan; uses no noise."""
        del noise
        return _counted(self, coefficients, tables, _log_magnitude)


@flax.struct.dataclass
class Nonzero:
    """`slope * number of levels that are not 0 + intercept * pixels`.

    The defaults are `compression.calibration`'s; see there for its images.

    Attributes:
      slope: bits per level.
      intercept: bits per pixel, of luma and with its padding.
    """

    slope: float | jax.Array = 6.35
    intercept: float | jax.Array = -0.111

    def bits(
        self,
        coefficients: Components,
        tables: jax.Array | np.ndarray,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan; uses no noise."""
        del noise
        return _counted(self, coefficients, tables, lambda size: jnp.minimum(size, 1))


def _log_magnitude(size: jax.Array) -> jax.Array:
    """Interpolates log2(1 + n) between the integers."""
    below = jnp.floor(size)
    rise = jnp.log2((below + 2) / (below + 1))
    return jnp.log2(below + 1) + (size - below) * rise


def _counted(
    model: LogMagnitude | Nonzero,
    coefficients: Components,
    tables: jax.Array | np.ndarray,
    count: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    total = jnp.zeros(())
    steps = per_component(tables)
    for values, step in zip(differences(coefficients), steps, strict=True):
        level = values / step
        # Of exact zeros, which are common, the derivative of abs would be 1.
        total += _sum(count(level * jnp.sign(level)))
    pixels = coefficients[0][0].size
    return model.slope * total + model.intercept * pixels


def differences(coefficients: Components) -> Components:
    """Replaces each DC by its difference to the previous block's, the first by itself."""
    y, cb, cr = (_differences(values) for values in coefficients)
    return y, cb, cr


def _differences(values: jax.Array) -> jax.Array:
    flat = values.reshape(len(values), -1, 64)
    return (flat - jnp.pad(flat[:, :-1, :1], ((0, 0), (1, 0), (0, 63)))).reshape(
        values.shape
    )


def _sum(values: jax.Array) -> jax.Array:
    return values.sum((1, 2, 3, 4))


def _noise_or_default(noise: Components | None, coefficients: Components) -> Components:
    return dither(jax.random.key(0), 0, coefficients) if noise is None else noise


@jax.jit
def scales(coefficients: Components) -> jax.Array:
    """Returns the mean magnitude `[3, 8, 8]` of the coefficients of all images."""
    return jnp.stack(
        [jnp.abs(values).mean((0, 1, 2)) for values in differences(coefficients)]
    )


def _fit_laplace(coefficients: Components, key: jax.Array | None) -> Laplace:
    del key
    return Laplace(scales(coefficients))


def _fit_learned(coefficients: Components, key: jax.Array | None) -> LearnedCdf:
    scale = scales(coefficients)
    values, widths = _training_data(coefficients, scale)
    key = jax.random.key(0) if key is None else key
    return LearnedCdf(scale, learned_cdf.train(values, widths, key))


@jax.jit
def _training_data(
    coefficients: Components, scale: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Returns blocks of all images `[N, 192]` and steps `[192]`, divided by scales.

    Where the chroma has fewer blocks than the luma, they are repeated.
    """
    flat = [values.reshape(-1, 64) for values in differences(coefficients)]
    most = max(map(len, flat))
    rows = [values[np.arange(most) % len(values)] for values in flat]
    safe = jnp.maximum(scale, _EMPTY).reshape(-1)
    steps = jnp.stack(per_component(quality_tables(_TRAINED_QUALITY))).reshape(-1)
    return jnp.concatenate(rows, axis=1) / safe, steps / safe


_FITS: dict[str, Callable[[Components, jax.Array | None], Estimator]] = {
    "laplace": _fit_laplace,
    "learned_cdf": _fit_learned,
    "log_magnitude": lambda coefficients, key: LogMagnitude(),
    "nonzero": lambda coefficients, key: Nonzero(),
}
NAMES = tuple(_FITS)


def fit(name: str, coefficients: Components, key: jax.Array | None = None) -> Estimator:
    """Returns an estimator for images such as these.

    Args:
      name: one of `NAMES`. The densities are fitted; the counts come with constants that
        `compression.calibration` found once.
      coefficients: of the images, as `jpeg.coefficients` returns them.
      key: of the draws of "learned_cdf"; by default always the same.

    Raises:
      ConfigError: no such estimator.
    """
    if name not in _FITS:
        raise ConfigError(unknown("rate model", name, NAMES))
    return _FITS[name](coefficients, key)
