"""Sharp images for a blurry one: the predictor's, and samples that refine it.

Every number of steps up to `MAX_STEPS` is one program: the schedule is a table that the
program reads, not a part of it.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import logging

from common.errors import ConfigError, DataError
from deblur_diffusion import noise, schedule
from deblur_diffusion.schedule import MAX_STEPS, Schedule

# The paper's search has variances of the last step in [0.01, 0.5]; more adds noise that
# few steps cannot take away.
BETA_MIN, BETA_LIMIT = 1e-6, 0.5


class Preset(NamedTuple):
    """Where on the perception-distortion curve to be (section 4 of the paper).

    The paper says 500 steps for the first and 10 with averaging for the last; the rest
    is our choice.
    """

    steps: int
    beta_max: float
    num_samples: int


PRESETS: Mapping[str, Preset] = {
    "perceptual": Preset(500, 0.02, 1),
    "balanced": Preset(50, 0.1, 1),
    "distortion": Preset(10, 0.5, 8),
}


def table(made: Schedule, eta: float = 1.0) -> np.ndarray:
    """Returns what the sampler reads, float32 `[MAX_STEPS, 4]`, row t - 1 of step t.

    The columns are the level that the network is told, and factors of the noisy signal,
    of the predicted noise and of new noise. In this form, without the estimate of the
    clean signal, nothing is divided by `sqrt(alpha_bar)`, which comes near to 0.

    Args:
      made: of at most `MAX_STEPS` steps.
      eta: 1 for the posterior's randomness (ancestral sampling), 0 for none (DDIM).

    Raises:
      ConfigError: too many steps, or an `eta` outside of [0, 1].
    """
    if made.steps > MAX_STEPS:
        raise ConfigError(f"steps={made.steps} are more than {MAX_STEPS}")
    if not 0 <= eta <= 1:
        raise ConfigError(f"eta={eta} must be in [0, 1]")
    level = made.alpha_bar
    previous = np.concatenate([[1.0], level[:-1]])
    sigma = eta * np.sqrt(made.variance)
    factor = np.sqrt(previous / level)
    direction = np.sqrt(np.maximum(1 - previous - sigma**2, 0))
    told = np.clip(level, *schedule.training_range())
    rows = [told, factor, direction - factor * np.sqrt(1 - level), sigma]
    padded = np.zeros((MAX_STEPS, 4))
    padded[: made.steps] = np.stack(rows, axis=1)
    return padded.astype(np.float32)


def sample(
    key: jax.Array,
    model: Any,
    variables: Mapping[str, Any],
    blurry: jax.Array,
    steps: int = PRESETS["balanced"].steps,
    beta_max: float = PRESETS["balanced"].beta_max,
    num_samples: int = 1,
    *,
    eta: float = 1.0,
    origin: tuple[int, int] = (0, 0),
) -> jax.Array:
    """Draws sharp images; the predictor runs once for each blurry one.

    Many steps with little noise give samples as sharp images are; few steps with much
    noise, and the mean of several samples, give less error (section 4 of the paper).

    Args:
      key: one, of which each image of the batch gets its own by its place, or `[B]`.
        An image's result depends on its key alone, not on the batch or the padding.
      model: of `models.create`.
      variables: of it.
      blurry: `[B, H, W, 3]` in [0, 1], sides multiples of `model.size_multiple`.
      steps: T.
      beta_max: variance of the last step of the linear schedule.
      num_samples: K.
      eta: see `table`.
      origin: row and column of the first pixel in the plane of noise (`noise.field`);
        an image that was padded before its first pixel begins so much earlier.

    Returns:
      float32 `[K, B, H, W, 3]`, in [0, 1] but for what the network is wrong about: not
      clipped, so that their mean has no bias.

    Raises:
      ConfigError: arguments that cannot be.
      DataError: no images, or sides that do not fit.
    """
    check_images(blurry, model.size_multiple)
    if type(num_samples) is not int or num_samples < 1:
        raise ConfigError(f"num_samples={num_samples!r} must be at least 1")
    steps, beta_max = clamp(steps, beta_max)
    rows = table(schedule.linear(BETA_MIN, beta_max, steps), eta)
    keys = keys_of(key, len(blurry), num_samples)
    place = np.asarray(origin, np.uint32)
    return _run(model, num_samples, variables, rows, steps, keys, blurry, place)


def clamp(steps: int, beta_max: float) -> tuple[int, float]:
    """Returns a schedule that can be sampled with, and warns where another was asked.

    Raises:
      ConfigError: no numbers.
    """
    if type(steps) is not int or not np.isfinite(beta_max):
        raise ConfigError(f"steps={steps!r} and beta_max={beta_max!r} must be numbers")
    fitting = min(max(steps, 1), MAX_STEPS)
    if fitting != steps:
        logging.warning("steps=%d: %d are taken", steps, fitting)
    limited = min(max(beta_max, BETA_MIN), BETA_LIMIT)
    if limited != beta_max:
        logging.warning("beta_max=%g: %g is taken", beta_max, limited)
    return fitting, limited


def check_images(images: Any, multiple: int) -> None:
    """Refuses what the networks cannot take.

    Raises:
      DataError: saying what was given.
    """
    shape = np.shape(images)
    if len(shape) != 4 or shape[3] != noise.CHANNELS or 0 in shape:
        raise DataError(f"images are [B, H, W, 3], given {list(shape)}")
    if any(side % multiple for side in shape[1:3]):
        raise DataError(
            f"images of {shape[1]} x {shape[2]} pixels: sides must be multiples of "
            f"{multiple}; predict.deblur takes any"
        )


def deviation(samples: jax.Array) -> jax.Array:
    """Returns where samples differ: the standard deviation of each pixel.

    Args:
      samples: `[K, ..., H, W, 3]`, K at least 2; of few steps they differ less than
        what is not known would have it, so take 100 or more.

    Returns:
      `[..., H, W]`, of the channel that differs most.

    Raises:
      ConfigError: fewer than two samples.
    """
    if len(samples) < 2:
        raise ConfigError("a deviation needs at least two samples")
    return jnp.std(samples, axis=0, ddof=1).max(-1)


def keys_of(key: jax.Array, batch: int, num_samples: int) -> jax.Array:
    """Returns a key for each sample of each image, `[K, B]`."""
    if key.shape == ():
        key = jax.vmap(lambda place: jax.random.fold_in(key, place))(jnp.arange(batch))
    if key.shape != (batch,):
        raise ConfigError(f"one key or {batch} of them, given {key.shape}")
    fold = jax.vmap(jax.random.fold_in, in_axes=(0, None))
    return jax.vmap(fold, in_axes=(None, 0))(key, jnp.arange(num_samples))


@functools.partial(jax.jit, static_argnums=(0, 1))
def _run(
    model: Any,
    num_samples: int,
    variables: Mapping[str, Any],
    rows: jax.Array,
    steps: jax.Array,
    keys: jax.Array,
    blurry: jax.Array,
    origin: jax.Array,
) -> jax.Array:
    """Samples; `steps` is an array here, so that all of them are one program."""
    batch, height, width, _ = blurry.shape
    images = 2 * jnp.asarray(blurry, jnp.float32) - 1
    guess = model.apply(variables, images, method="predict")
    given = jnp.tile(images, (num_samples, 1, 1, 1))
    flat = keys.reshape(-1)

    def draw(t: jax.Array) -> jax.Array:
        """Noise of a step; that of the start has the number 0."""
        own = jax.vmap(lambda key: jax.random.fold_in(key, t))(flat)
        place = origin[0], origin[1]
        return jax.vmap(lambda key: noise.field(key, height, width, place))(own)

    def step(index: jax.Array, z: jax.Array) -> jax.Array:
        t = steps - index
        level, factor, predicted, sigma = rows[t - 1]
        levels = jnp.full(len(z), level)
        found = model.apply(variables, z, levels, given, method="denoise")
        return factor * z + predicted * found.astype(jnp.float32) + sigma * draw(t)

    residual = jax.lax.fori_loop(0, steps, step, draw(jnp.zeros((), jnp.int32)))
    residual = residual.reshape(num_samples, batch, height, width, -1)
    return (guess.astype(jnp.float32) + residual + 1) / 2
