"""Bits of a JPEG scan, estimated by functions that can be differentiated.

An estimator is a pytree with one method, `bits(coefficients, tables, noise)`. It looks
at what a scan codes: every coefficient divided by its step, the DC replaced by its
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

Tables = jax.Array | np.ndarray

# The dither is at most 1/2 less half of this: a density must not see halves.
_GRAIN = 2.0**-23
# 2**32 times the fractions of the golden ratio and of the square root of 2, whose
# multiples cover the unit interval evenly.
_BLOCK_STRIDE, _STEP_STRIDE = 2654435769, 1779033704
# Our choice. Channels of a smaller mean magnitude hold rounding errors of the transform
# at most: they have this scale, and no noise, which would cost what nothing costs.
_EMPTY = 1e-2
# The least probability of a level under a learned density; public code has the same.
_LEAST_MASS = 1e-9
# Our choice: a learned density is trained on tables around those of this quality.
_TRAINED_QUALITY = 50


class Estimator(Protocol):
    """What all estimators can do."""

    def bits(
        self,
        coefficients: Components,
        tables: Tables,
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

    It is a lattice with a random offset for each component and frequency: every value
    is uniform, and those of neighbouring blocks and of successive steps are spread
    evenly. It is so cheap that a compiler makes it again where it is used, while random
    numbers would take longer than the rate. All images of a batch get the same.

    Args:
      key: of the offsets.
      step: of the optimiser, any whole number; each has other noise.
      coefficients: whose shapes it is for.

    Returns:
      Float32 arrays `[1, rows, columns, 8, 8]`.
    """
    offsets = jax.random.bits(key, (3, 8, 8), jnp.uint32)
    offsets += jnp.asarray(step).astype(jnp.uint32) * np.uint32(_STEP_STRIDE)
    y, cb, cr = (
        _lattice(values.shape[1], values.shape[2], offset)
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
      scale: `[3, 8, 8]`, mean magnitude of the coefficients: a constant, by which
        there is no derivative.
    """

    scale: jax.Array

    def bits(
        self,
        coefficients: Components,
        tables: Tables,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan; see `Estimator`."""
        total = jnp.zeros(())
        for values, step, added, scale in zip(
            *_coded(coefficients, tables, noise), self.scale, strict=True
        ):
            added = jnp.where(scale < _EMPTY, 0, added)
            scale = jnp.maximum(scale, _EMPTY)
            total += _sum(_laplace_nats(values, step, scale, added))
        return total / np.log(2)


@jax.custom_jvp
def _laplace_nats(
    values: jax.Array, step: jax.Array, scale: jax.Array, noise: jax.Array
) -> jax.Array:
    """Returns minus the logarithm of the mass between the noisy level -1/2 and +1/2.

    With a = |level| and r = step / scale it is exp(-a r) sinh(r / 2) from a = 1/2 on:
    the logarithm is linear in a. Below, it is 1 - exp(-r / 2) cosh(a r).

    Scale and noise are constants: there is no derivative by them.
    """
    return _laplace_parts(values, step, scale, noise)[0]


def _laplace_parts(
    values: jax.Array, step: jax.Array, scale: jax.Array, noise: jax.Array
) -> tuple[jax.Array, ...]:
    level = values / step + noise
    size, ratio = jnp.abs(level), step / scale
    # No exponent is positive, whatever the ratio.
    near = jnp.exp((jnp.minimum(size, 0.5) - 0.5) * ratio)
    far = jnp.exp(-ratio) / jnp.maximum(near, 1e-35)  # exp(-(size + 1/2) ratio)
    mass = 1 - 0.5 * (near + far)
    beyond = (size - 0.5) * ratio + (np.log(2) - jnp.log(-jnp.expm1(-ratio)))
    return jnp.where(size < 0.5, -jnp.log(mass), beyond), level, near, far, mass


@_laplace_nats.defjvp
def _laplace_nats_jvp(primals, tangents):
    # Each derivative is one chain of elementwise operations, which is compiled as one
    # with the sum behind it. What reverse mode makes of the function above stores an
    # array after nearly every operation, and took four times as long.
    values, step, scale, _ = primals
    nats, level, near, far, mass = _laplace_parts(*primals)
    size, ratio, half = jnp.abs(level), step / scale, 0.5 / mass
    inside = size < 0.5
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

    See `compression.learned_cdf`. The tables bring levels to those units, and therefore
    change the rate analytically, as with `Laplace`. Tails and peaks are those of the
    images, for several times the work. The units, and training with all kinds of
    tables, are our choice.

    Attributes:
      scale: `[3, 8, 8]`, mean magnitude of the coefficients.
      params: of the density of coefficients divided by it, channels `[192]`.
    """

    scale: jax.Array
    params: learned_cdf.Params

    def bits(
        self,
        coefficients: Components,
        tables: Tables,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan; see `Estimator`."""
        total = jnp.zeros(())
        for number, (values, step, added, scale) in enumerate(
            zip(*_coded(coefficients, tables, noise), self.scale, strict=True)
        ):
            added = jnp.where(scale < _EMPTY, 0, added)
            unit = jnp.maximum(scale, _EMPTY)
            noisy = (values + step * added) / unit
            mass = learned_cdf.log_mass(self._of(number), noisy, step / unit / 2)
            total -= _sum(jnp.maximum(mass, np.log(_LEAST_MASS)))
        return total / np.log(2)

    def _of(self, component: int) -> learned_cdf.Params:
        """Returns the parameters of a component, channels `[8, 8]`."""
        return jax.tree.map(
            lambda x: x.reshape(*x.shape[:-1], 3, 8, 8)[..., component, :, :],
            self.params,
        )


@flax.struct.dataclass
class LogMagnitude:
    """`slope * sum of log2(1 + |level|) + intercept * pixels`.

    The defaults are what `--mode=calibrate` fits at 4:4:4, to nine photographs that
    `calibration.bundled` names.

    Attributes:
      slope: bits per unit of the sum.
      intercept: bits per pixel, of luma and with its padding.
    """

    slope: float | jax.Array = 2.596
    intercept: float | jax.Array = 0.143

    def bits(
        self,
        coefficients: Components,
        tables: Tables,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan; see `Estimator`."""
        del noise
        return _counted(self, coefficients, tables, _log_magnitude)


@flax.struct.dataclass
class Nonzero:
    """`slope * number of levels that are not 0 + intercept * pixels`.

    The defaults are what `--mode=calibrate` fits at 4:4:4, to nine photographs that
    `calibration.bundled` names.

    Attributes:
      slope: bits per level.
      intercept: bits per pixel, of luma and with its padding.
    """

    slope: float | jax.Array = 3.872
    intercept: float | jax.Array = 0.082

    def bits(
        self,
        coefficients: Components,
        tables: Tables,
        noise: Components | None = None,
    ) -> jax.Array:
        """Returns the expected bits of each image's scan; see `Estimator`."""
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
    tables: Tables,
    count: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    total = jnp.zeros(())
    steps = per_component(tables)
    for values, step in zip(differences(coefficients), steps, strict=True):
        level = values / step
        # At exact zeros, which are common, the derivative of abs would be 1.
        total += _sum(count(level * jnp.sign(level)))
    pixels = coefficients[0][0].size
    return model.slope * total + model.intercept * pixels


def _coded(
    coefficients: Components, tables: Tables, noise: Components | None
) -> tuple[Components, Components, Components]:
    """Returns what a density needs of each component: values, steps and noise."""
    steps = per_component(tables)
    if noise is None:
        noise = dither(jax.random.key(0), 0, coefficients)
    return differences(coefficients), steps, noise


def differences(coefficients: Components) -> Components:
    """Replaces each DC by its difference to the previous block's; the first stays."""
    y, cb, cr = (_differences(values) for values in coefficients)
    return y, cb, cr


def _differences(values: jax.Array) -> jax.Array:
    flat = values.reshape(len(values), -1, 64)
    previous = jnp.pad(flat[:, :-1, :1], ((0, 0), (1, 0), (0, 63)))
    return (flat - previous).reshape(values.shape)


def _sum(values: jax.Array) -> jax.Array:
    return values.sum((1, 2, 3, 4))


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
      name: one of `NAMES`. Densities are fitted; counts come with fixed constants.
      coefficients: of the images, as `jpeg.coefficients` returns them.
      key: of the draws of "learned_cdf"; by default always the same.

    Raises:
      ConfigError: no such estimator.
    """
    if name not in _FITS:
        raise ConfigError(unknown("rate model", name, NAMES))
    return _FITS[name](coefficients, key)
