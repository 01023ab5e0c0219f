"""Samples of images that do not fit into memory.

Every step is made for the whole image before the next begins: its tiles see the same
noisy residual and get the same noise, so that what one tile adds is no surprise to its
neighbour.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from common.restoration.tiles import Tiling
from deblur_diffusion import noise, sampler, schedule


def sample(
    key: jax.Array,
    model: Any,
    variables: Mapping[str, Any],
    blurry: np.ndarray,
    steps: int,
    beta_max: float,
    num_samples: int,
    tiling: Tiling,
    *,
    eta: float = 1.0,
    origin: tuple[int, int] = (0, 0),
    progress: bool = False,
) -> np.ndarray:
    """Draws sharp images for one blurry one, as `sampler.sample` does for a batch.

    With a margin of the network's radius, and sides that are multiples of its own, the
    samples are those of the whole image; with less, nearly.

    Args:
      key: of the image.
      model: of `models.create`.
      variables: of it.
      blurry: `[H, W, 3]` in [0, 1].
      steps: T.
      beta_max: variance of the last step.
      num_samples: K.
      tiling: how a step is cut.
      eta: see `sampler.table`.
      origin: see `sampler.sample`.
      progress: show a bar.

    Returns:
      float32 `[K, H, W, 3]`, not clipped.
    """
    sampler.check_images(blurry[None], model.size_multiple)
    steps, beta_max = sampler.clamp(steps, beta_max)
    made = schedule.linear(sampler.BETA_MIN, beta_max, steps)
    rows = sampler.table(made, eta)
    images = np.float32(2) * np.asarray(blurry, np.float32) - np.float32(1)
    guess = tiling.map(functools.partial(_predict, model, variables), images)
    keys = sampler.keys_of(key[None], 1, num_samples)[:, 0]
    height, width, _ = images.shape

    def draw(own: jax.Array, step: int) -> np.ndarray:
        return np.asarray(_field(jax.random.fold_in(own, step), height, width, origin))

    residuals = [draw(own, 0) for own in keys]
    for step in tqdm(range(steps, 0, -1), unit="step", disable=not progress):
        level, factor, predicted, sigma = rows[step - 1]
        for index, own in enumerate(keys):
            both = np.concatenate([residuals[index], images], axis=-1)
            find = functools.partial(_denoise, model, variables, level)
            found = tiling.map(find, both)
            residuals[index] = factor * residuals[index] + predicted * found
            if sigma:
                residuals[index] += sigma * draw(own, step)
    return (guess + np.stack(residuals) + 1) / 2


def _predict(model: Any, variables: Mapping[str, Any], tile: np.ndarray) -> np.ndarray:
    return np.asarray(_predictor(model, variables, tile[None])[0], np.float32)


def _denoise(
    model: Any, variables: Mapping[str, Any], level: float, tile: np.ndarray
) -> np.ndarray:
    levels = np.full(1, level, np.float32)
    found = _denoiser(
        model, variables, tile[None, ..., :3], levels, tile[None, ..., 3:]
    )
    return np.asarray(found[0], np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _predictor(model: Any, variables: Any, images: jax.Array) -> jax.Array:
    return model.apply(variables, images, method="predict")


@functools.partial(jax.jit, static_argnums=0)
def _denoiser(
    model: Any, variables: Any, z: jax.Array, levels: jax.Array, images: jax.Array
) -> jax.Array:
    return model.apply(variables, z, levels, images, method="denoise")


@functools.partial(jax.jit, static_argnums=(1, 2))
def _field(
    key: jax.Array, height: int, width: int, origin: tuple[int, int]
) -> jax.Array:
    return noise.field(key, height, width, (jnp.uint32(origin[0]), origin[1]))
