"""A learned density per channel: a small monotone network is its distribution function.

The factorised density of Balle et al. 2018 (arXiv 1802.01436, appendix 6.1): layers
`h + tanh(a) tanh(h)` with `h = softplus(H) x + b`, whose slopes are positive, and a
logistic function at the end. A function of one argument has no use for a large network:
three hidden layers of three units, as there.
"""

from __future__ import annotations

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import optax

_WIDTHS = (1, 3, 3, 3, 1)
# Of training; our choices. Values of unit mean magnitude are known beforehand, so that
# the first distribution is about as wide as they are.
_STEPS, _LEARNING_RATE, _ROWS = 300, 0.1, 256

Params = list[dict[str, jax.Array]]


def init(key: jax.Array, channels: int) -> Params:
    """Returns the parameters of a density of about unit width.

    Args:
      key: of the biases.
      channels: how many densities.

    Returns:
      For each layer `matrix` `[out, in, channels]`, `bias` and, but for the last,
      `gate` `[out, channels]`.
    """
    layers = []
    for number, (before, after) in enumerate(itertools.pairwise(_WIDTHS)):
        # Products along all paths sum to 1: the width is that of the values.
        matrix = jnp.full((after, before, channels), np.log(np.expm1(1 / after)))
        draw = jax.random.fold_in(key, number)
        bias = jax.random.uniform(draw, (after, channels), minval=-0.5, maxval=0.5)
        layer = {"matrix": matrix, "bias": bias}
        if number < len(_WIDTHS) - 2:
            layer["gate"] = jnp.zeros((after, channels))
        layers.append(layer)
    return layers


def logits(params: Params, values: jax.Array) -> jax.Array:
    """Returns the logit of the distribution function.

    Args:
      params: of `C` channels.
      values: `[..., C]`.
    """
    units = [values]
    for layer in params:
        weights = jax.nn.softplus(layer["matrix"])
        # Written out: products this small are slow as matrices.
        units = [
            sum(w * unit for w, unit in zip(row, units, strict=True)) + bias
            for row, bias in zip(weights, layer["bias"], strict=True)
        ]
        if "gate" in layer:
            gates = jnp.tanh(layer["gate"])
            units = [u + g * jnp.tanh(u) for u, g in zip(units, gates, strict=True)]
    return units[0]


def log_mass(params: Params, values: jax.Array, half_width: jax.Array) -> jax.Array:
    """Returns the logarithm of the mass between `values - half_width` and `+`.

    Args:
      params: of `C` channels.
      values: `[..., C]`.
      half_width: positive, of a shape that broadcasts to that of `values`.
    """
    # At once: the network is compiled a single time.
    low, high = logits(params, jnp.stack([values - half_width, values + half_width]))
    # The difference of two logistic functions without subtracting what is near 1.
    between = jnp.log(-jnp.expm1(jnp.minimum(low - high, -1e-7)))
    return jax.nn.log_sigmoid(high) + jax.nn.log_sigmoid(-low) + between


@functools.partial(jax.jit, static_argnames="steps")
def train(
    values: jax.Array, widths: jax.Array, key: jax.Array, steps: int = _STEPS
) -> Params:
    """Fits densities by the likelihood of values with noise: the auxiliary loss.

    In every step the noise, and with it the interval whose mass counts, has another
    width, from a quarter of the given one to four times as much: the density is learned
    for tables of all kinds.

    Args:
      values: `[N, C]`, of about unit mean magnitude.
      widths: `[C]`, of the noise.
      key: of all draws.
      steps: of Adam.
    """
    rows, channels = min(_ROWS, len(values)), values.shape[1]
    start, noise = jax.random.split(key)
    params = init(start, channels)
    optimizer = optax.adam(optax.cosine_decay_schedule(_LEARNING_RATE, steps))

    def loss(params: Params, draw: jax.Array) -> jax.Array:
        which, step, added = jax.random.split(draw, 3)
        batch = values[jax.random.randint(which, (rows,), 0, len(values))]
        width = widths * jnp.exp2(
            jax.random.uniform(step, (channels,), minval=-2.0, maxval=2.0)
        )
        noisy = batch + width * (jax.random.uniform(added, batch.shape) - 0.5)
        return -log_mass(params, noisy, width / 2).mean(0).sum()

    def one(carry, draw):
        params, moments = carry
        gradient = jax.grad(loss)(params, draw)
        updates, moments = optimizer.update(gradient, moments)
        return (optax.apply_updates(params, updates), moments), None

    carry = params, optimizer.init(params)
    (params, _), _ = jax.lax.scan(one, carry, jax.random.split(noise, steps))
    return params
