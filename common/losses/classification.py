"""Losses of classifiers by the names that configs use, each `[B, K]` -> `[B]`."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import ml_collections
import optax

from common.losses import robust

NAMES = ("softmax", "sigmoid", "gce", "sce", "mae", "bi_tempered")


def default_options() -> ml_collections.ConfigDict:
    """Returns `config.loss` with the constants of every loss, as their papers have."""
    options = ml_collections.ConfigDict()
    options.name = "softmax"  # over the classes; sigmoid: each class by itself
    options.label_smoothing = 0.0
    options.q = 0.7  # gce, arXiv 1805.07836
    options.alpha = 0.1  # sce, arXiv 1908.06112, for CIFAR-10
    options.beta = 1.0
    options.t1 = 0.8  # bi_tempered, arXiv 1906.03361
    options.t2 = 1.2
    return options


def per_example(
    name: str, logits: jax.Array, targets: jax.Array, options: ml_collections.ConfigDict
) -> jax.Array:
    """Returns the loss of each example, `[B]`, of `[B, K]` logits and targets.

    Args:
      name: one of `NAMES`. "softmax" is the cross entropy; "sigmoid" one binary cross
        entropy per class, summed over the classes. Papers that use it seldom name the
        reduction; the sum is our choice, since a mean would shrink the loss with the
        number of classes. The others are in `common.losses.robust`.
      logits: any real numbers.
      targets: in [0, 1]; except for sigmoid they sum to 1.
      options: as from `default_options`.
    """
    match name:
        case "softmax":
            return optax.softmax_cross_entropy(logits, targets)
        case "sigmoid":
            return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), -1)
        case "gce":
            return robust.generalized_cross_entropy(logits, targets, options.q)
        case "sce":
            return robust.symmetric_cross_entropy(
                logits, targets, options.alpha, options.beta
            )
        case "mae":
            return robust.mean_absolute_error(logits, targets)
        case "bi_tempered":
            return robust.bi_tempered_logistic(logits, targets, options.t1, options.t2)
    raise ValueError(f"no loss {name!r}")


def smooth_labels(targets: jax.Array, amount: float, name: str) -> jax.Array:
    """Moves targets `[B, K]` by the share `amount` towards knowing nothing.

    That is 1/K; for sigmoid it is 1/2, as in TensorFlow's losses: our choice, since
    MaxViT's paper (2204.01697) does not say what its 1e-4 moves towards; towards 1/K,
    of 21,843 classes, it would be next to nothing. (The code of the bi-tempered loss
    counts otherwise: its smoothing `s` is an amount of `K / (K - 1) * s` here.)
    """
    if name == "sigmoid":
        return (1 - amount) * targets + amount / 2
    return optax.smooth_labels(targets, amount)


def probabilities(
    name: str, logits: jax.Array, options: ml_collections.ConfigDict
) -> jax.Array:
    """Returns `[B, K]` probabilities; those of sigmoids need not sum to 1."""
    if name == "sigmoid":
        return jax.nn.sigmoid(logits)
    if name == "bi_tempered":
        return robust.tempered_softmax(logits, options.t2)
    return jax.nn.softmax(logits)
