"""Optimisers, with weight decay and learning rates chosen by parameter path."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import jax
import ml_collections
import optax
from flax import traverse_util

from common.errors import ConfigError

PyTree = Any


def make(
    config: ml_collections.ConfigDict, params: PyTree
) -> optax.GradientTransformation:
    """Returns the transformation from gradients to *unit-rate* updates.

    The learning rate is not part of it: the step multiplies the result by
    `-schedule(step)`, so a skipped step never shifts the schedule. Weight decay of
    `adamw` is decoupled and multiplied by the learning rate; that of `adam` and `sgd`
    is the gradient of an L2 penalty and goes through their moments.

    Args:
      config: the `optimizer` section of an experiment.
      params: parameters or their shapes, for the regexes to match.

    Raises:
      ConfigError: a regex is malformed or matches no parameter.
    """
    parts = []
    mask = decay_mask(params, config.no_decay)
    if config.clip_norm:
        parts.append(optax.clip_by_global_norm(config.clip_norm))
    decay = optax.add_decayed_weights(config.weight_decay, mask)
    direction = _direction(config)
    if not config.weight_decay:
        parts.append(direction)
    else:
        parts += [direction, decay] if config.name == "adamw" else [decay, direction]
    if config.lr_multipliers:
        factors = multipliers(params, config.lr_multipliers)
        parts.append(optax.stateless(lambda updates, _: _multiply(updates, factors)))
    return optax.chain(*parts)


def _direction(config: ml_collections.ConfigDict) -> optax.GradientTransformation:
    if config.name == "sgd":
        if not config.momentum:
            return optax.identity()
        return optax.trace(decay=config.momentum, nesterov=config.nesterov)
    return optax.scale_by_adam(b1=config.b1, b2=config.b2, eps=config.eps)


def decay_mask(params: PyTree, no_decay: Sequence[str]) -> PyTree:
    """Returns True for every parameter whose path no regex of `no_decay` finds."""
    matches = _match(params, no_decay, "config.optimizer.no_decay")
    return _map_paths(lambda path: not any(path in found for found in matches), params)


def multipliers(params: PyTree, rules: Sequence[tuple[str, float]]) -> PyTree:
    """Returns the learning-rate factor of every parameter: the first match, else 1."""
    name = "config.optimizer.lr_multipliers"
    if not all(isinstance(rule, Sequence) and len(rule) == 2 for rule in rules):
        raise ConfigError(f"{name} holds pairs (regex, factor), given {rules!r}")
    matches = _match(params, [pattern for pattern, _ in rules], name)
    factors = [float(factor) for _, factor in rules]

    def factor(path: str) -> float:
        hits = (f for f, found in zip(factors, matches, strict=True) if path in found)
        return next(hits, 1.0)

    return _map_paths(factor, params)


def _match(params: PyTree, patterns: Iterable[str], name: str) -> list[set[str]]:
    """Returns the paths each regex finds; one that finds none is a mistake."""
    paths = traverse_util.flatten_dict(params, sep="/")
    found = []
    for pattern in patterns:
        try:
            regex = re.compile(pattern)
        except re.error as error:
            raise ConfigError(f"{name}: {pattern!r} is no regex: {error}") from error
        found.append({path for path in paths if regex.search(path)})
        if not found[-1]:
            examples = ", ".join(sorted(paths)[:3])
            raise ConfigError(
                f"{name}: {pattern!r} matches no parameter (they look like {examples})"
            )
    return found


def _map_paths(function: Any, params: PyTree) -> PyTree:
    flat = traverse_util.flatten_dict(params, sep="/")
    return traverse_util.unflatten_dict({p: function(p) for p in flat}, sep="/")


def _multiply(updates: PyTree, factors: PyTree) -> PyTree:
    return jax.tree.map(lambda update, factor: update * factor, updates, factors)
