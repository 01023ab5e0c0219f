"""Mixup and CutMix inside the jitted step.

Both mix every example with the one at the mirrored position of the batch, like the
EfficientNet scripts that MaxViT's training followed: with example `B - 1 - i` for
example `i`. Random numbers are drawn for the global batch, so the result does not
depend on how many devices share it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp


def mixup(
    key: jax.Array,
    images: jax.Array,
    targets: jax.Array,
    alpha: float,
    probability: float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """Blends each example with its partner (arXiv 1710.09412).

    Each example draws its own weight from Beta(alpha, alpha) and keeps the larger
    share, max(w, 1 - w), as in EfficientNet's script. (With the same weight for a
    pair and its mirror, w and 1 - w would be the same pair of examples.)

    Args:
      key: PRNG key.
      images: `[B, H, W, C]` of a floating type, any range.
      targets: `[B, ...]` of a floating type: class probabilities, or images.
      alpha: at least 0; 0 does not mix.
      probability: of mixing an example at all, drawn for each by itself.

    Returns:
      Mixed images and targets, of the given shapes and types.
    """
    if not alpha or not probability:
        return images, targets
    weight = jax.random.beta(key, alpha, alpha, (images.shape[0],))
    weight = jnp.maximum(weight, 1 - weight)
    if probability < 1:
        chosen = jax.random.bernoulli(
            jax.random.fold_in(key, 1), probability, weight.shape
        )
        weight = jnp.where(chosen, weight, 1)
    return _blend(images, weight), _blend(targets, weight)


def cutmix(
    key: jax.Array, images: jax.Array, targets: jax.Array, alpha: float
) -> tuple[jax.Array, jax.Array]:
    """Pastes a box of the partner into each example (arXiv 1905.04899).

    A weight is drawn from Beta(alpha, alpha) per example; the box has
    `sqrt(1 - weight)` of each side and a centre uniform over the image, and is
    clipped at the border. The targets' weight is the area the box really leaves.

    Args:
      key: PRNG key.
      images: `[B, H, W, C]`, any type and range.
      targets: `[B, K]` class probabilities.
      alpha: at least 0; 0 does not mix.

    Returns:
      Mixed images and targets, of the given shapes and types.
    """
    if not alpha:
        return images, targets
    batch, height, width = images.shape[:3]
    weight_key, y_key, x_key = jax.random.split(key, 3)
    weight = jax.random.beta(weight_key, alpha, alpha, (batch,))
    rows = _span(y_key, height, jnp.sqrt(1 - weight))
    columns = _span(x_key, width, jnp.sqrt(1 - weight))
    box = rows[:, :, None] & columns[:, None, :]
    kept = 1 - box.mean(axis=(1, 2), dtype=jnp.float32)
    mixed = jnp.where(box[..., None], images[::-1], images)
    return mixed, _blend(targets, kept)


def mix(
    key: jax.Array,
    images: jax.Array,
    targets: jax.Array,
    mixup_alpha: float,
    cutmix_alpha: float,
) -> tuple[jax.Array, jax.Array]:
    """Applies mixup, CutMix or, with both alphas above 0, one of them at random.

    The choice is made once per batch with probability 1/2, as timm does.

    Args:
      key: PRNG key.
      images: `[B, H, W, C]` of a floating type.
      targets: `[B, K]` class probabilities.
      mixup_alpha: 0 turns mixup off.
      cutmix_alpha: 0 turns CutMix off.

    Returns:
      Mixed images and targets, of the given shapes and types.
    """
    if not (mixup_alpha and cutmix_alpha):
        mixed = mixup(key, images, targets, mixup_alpha)
        return cutmix(key, *mixed, cutmix_alpha)
    choice_key, mix_key = jax.random.split(key)
    return jax.lax.cond(
        jax.random.bernoulli(choice_key),
        lambda: mixup(mix_key, images, targets, mixup_alpha),
        lambda: cutmix(mix_key, images, targets, cutmix_alpha),
    )


def _blend(values: jax.Array, weight: jax.Array) -> jax.Array:
    """Returns `weight * values + (1 - weight) * mirrored values`; `weight` is `[B]`."""
    if not jnp.issubdtype(values.dtype, jnp.floating):
        raise TypeError(
            f"only floating-point arrays can be mixed, given {values.dtype}"
        )
    weight = weight.reshape((-1,) + (1,) * (values.ndim - 1)).astype(values.dtype)
    return weight * values + (1 - weight) * values[::-1]


def _span(key: jax.Array, length: int, fraction: jax.Array) -> jax.Array:
    """Returns bool `[B, length]`: an interval of `fraction` of it, clipped."""
    size = jnp.floor(fraction * length).astype(jnp.int32)
    center = jax.random.randint(key, fraction.shape, 0, length)
    start = center - size // 2
    positions = jnp.arange(length)
    return (positions >= start[:, None]) & (positions < (start + size)[:, None])
