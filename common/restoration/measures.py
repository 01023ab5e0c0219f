"""What a restored image is measured by beside PSNR and SSIM."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import Any

import jax
import ml_collections
import numpy as np

from common.config import unknown
from common.data.normalization import to_unit
from common.errors import ConfigError
from common.metrics import niqe, perceptual
from common.metrics.image import to_bytes
from common.metrics.sharpness import sharpness_error
from common.models import registry

# In place of a file of weights: a network that learned nothing.
RANDOM = "random"
Measure = Callable[[np.ndarray, np.ndarray], float]
# The seed is not that of a loss' trunk: nobody is measured by what they learned from.
_SEED = 1


def check(evaluation: ml_collections.ConfigDict) -> None:
    """Refuses what cannot be measured, before anything is read.

    Raises:
      ConfigError: unknown network, a file that is not there, or a network that learned
        nothing where one has to know something.
    """
    net = evaluation.lpips_net
    if net not in perceptual.NETS:
        raise ConfigError(unknown("config.evaluation.lpips_net", net, perceptual.NETS))
    registry.normalization(evaluation.fid_backbone)  # Refuses an unknown name.
    for name in ("lpips", "dists", "niqe", "fid"):
        path = evaluation[name]
        if not path or (name, path) == ("lpips", RANDOM):
            continue
        if not os.path.isfile(os.path.expanduser(path)):
            raise ConfigError(f"config.evaluation.{name}={path}: no such file")


def create(evaluation: ml_collections.ConfigDict) -> dict[str, Measure]:
    """Returns what a config names weights for, by name.

    Args:
      evaluation: `config.evaluation`.

    Returns:
      Name -> function of an image and its target, float32 `[H, W, 3]` in [0, 1], to a
      number: "sharpness_error" always; "lpips_alex", "lpips_vgg", "dists", less is
      better each; and "niqe", which looks at the image alone. A distance of LPIPS' form
      by a network that learned nothing is called "random_alex" or "random_vgg".

    Raises:
      ConfigError: see `check`, or a file that does not fit.
    """
    check(evaluation)
    net = evaluation.lpips_net
    measures: dict[str, Measure] = {"sharpness_error": sharpness_error}
    if evaluation.lpips == RANDOM:
        variables = perceptual.untrained_lpips(net, _SEED)
        measures[f"random_{net}"] = _distance(_lpips(net), variables)
    elif evaluation.lpips:
        variables = perceptual.load_lpips(evaluation.lpips, net)
        measures[f"lpips_{net}"] = _distance(_lpips(net), variables)
    if evaluation.dists:
        variables = perceptual.load_dists(evaluation.dists)
        measures["dists"] = _distance(perceptual.dists, variables)
    if evaluation.niqe:
        model = niqe.load(evaluation.niqe)
        measures["niqe"] = lambda image, _: niqe.score(
            to_bytes(image, "nearest"), model
        )
    return measures


def apply(
    measures: dict[str, Measure], image: np.ndarray, target: np.ndarray
) -> dict[str, float]:
    """Measures an image, clipped to [0, 1], against its target of bytes."""
    image, target = np.clip(image, 0, 1).astype(np.float32), to_unit(target)
    return {name: measure(image, target) for name, measure in measures.items()}


def _lpips(net: str) -> Any:
    return functools.partial(perceptual.lpips, net=net)


def _distance(function: Any, variables: Any) -> Measure:
    compiled = jax.jit(function)
    return lambda image, target: float(
        compiled(variables, image[None], np.asarray(target)[None])[0]
    )
