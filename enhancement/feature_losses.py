"""Losses that look through a network: what a study compares, by name."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any

import jax

from common.config import unknown
from common.errors import ConfigError
from common.losses import contextual, feature_layers, perceptual
from common.losses.projected_distribution import projected_distribution_loss
from common.metrics import perceptual as metrics
from common.metrics import trunks
from common.restoration.measures import RANDOM

_SLICED = functools.partial(projected_distribution_loss, projection="random")
# Name -> of the maps of both images; the contextual losses and those of random
# projections draw.
LOSSES: dict[str, Callable[..., Any]] = {
    "pdl": projected_distribution_loss,
    "swd": _SLICED,
    "vgg_l1": functools.partial(perceptual.feature_distance, p=1),
    "vgg_l2": functools.partial(perceptual.feature_distance, p=2),
    "gram": perceptual.gram,
    "cx": contextual.contextual,
    "cobi": contextual.cobi,
}
NAMES = (*LOSSES, "lpips")


@dataclasses.dataclass(frozen=True)
class FeatureLoss:
    """A loss of the maps of a fixed network.

    Attributes:
      name: one of `NAMES`.
      trunk: network, see `trunks.NETS`; for "lpips" the net of `perceptual.NETS`.
      weights: file of its weights, or "random".
      layers: a preset of `feature_layers`; "lpips" has its own.
      options: further arguments of the loss.

    Raises:
      ConfigError: one of them cannot be. Weights are read when first used.
    """

    name: str
    trunk: str = "vgg19"
    weights: str = ""
    layers: str = "default"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        if self.name not in NAMES:
            raise ConfigError(unknown("config.loss.feature", self.name, NAMES))
        if not self.weights:
            raise ConfigError(
                f"config.loss.feature={self.name} needs config.loss.trunk_weights: a "
                "file of the network's weights as torchvision has them (for lpips "
                f"with the heads), .safetensors or .npz; or {RANDOM}, a network that "
                "learned nothing"
            )
        if self.name == "lpips":
            if self.trunk not in metrics.NETS:
                raise ConfigError(
                    unknown("config.loss.trunk of lpips", self.trunk, metrics.NETS)
                )
            if self.options:
                raise ConfigError(f"lpips has no options: {dict(self.options)}")
            return
        trunks.torch_layers(self.trunk)  # Refuses an unknown name.
        taps = feature_layers.find(self.layers)
        known = set(inspect.signature(LOSSES[self.name]).parameters)
        known -= {"features", "target_features", "weights", "key"}
        for option in self.options:
            if option not in known:
                raise ConfigError(unknown(f"option of {self.name}", option, known))
        for tap in taps:
            trunks.check_tap(self.trunk, tap)

    def __call__(
        self, variables: Any, images: jax.Array, targets: jax.Array, key: jax.Array
    ) -> jax.Array:
        """Returns the loss of every image.

        Args:
          variables: of `variables`.
          images: `[B, H, W, 3]`, in [0, 1] but for what a network is wrong about; not
            clipped, which would take the gradient away.
          targets: of the same shape; no gradient goes there.
          key: of what is drawn.

        Returns:
          float32 `[B]`.
        """
        targets = jax.lax.stop_gradient(targets)
        if self.name == "lpips":
            return metrics.lpips(variables, images, targets, self.trunk, precision=None)
        weights = feature_layers.find(self.layers)
        look = functools.partial(
            trunks.features, variables, taps=list(weights), net=self.trunk
        )
        loss, options = LOSSES[self.name], dict(self.options)
        if "key" in inspect.signature(loss).parameters:
            options["key"] = key
        _, layers = loss(look(images), look(targets), weights, **options)
        return sum(layers.values(), start=jax.numpy.zeros(len(images)))

    def variables(self) -> Any:
        """Reads or makes the variables of the network.

        Raises:
          ConfigError: the file does not fit.
          DataError: there is none.
        """
        if self.name == "lpips" and self.weights == RANDOM:
            return metrics.untrained_lpips(self.trunk)
        if self.name == "lpips":
            return metrics.load_lpips(self.weights, self.trunk)
        if self.weights == RANDOM:
            return trunks.untrained(self.trunk)
        return trunks.load(self.weights, self.trunk)
