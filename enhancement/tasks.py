"""What this package hands to the shared training loop."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np

from common import config as configs
from common.data.normalization import to_unit
from common.errors import ConfigError
from common.losses.balance import gradient_ratio
from common.losses.charbonnier import charbonnier
from common.losses.difference import difference
from common.restoration import task
from common.restoration.inference import Restorer
from common.restoration.task import training_psnr
from common.task import Batch, LossOutput, Variables
from enhancement import networks
from enhancement.config import default_config, given
from enhancement.feature_losses import FeatureLoss

_PIXEL_LOSSES = ("l1", "l2", "charbonnier")
_SECTIONS = ("model", "loss")


class Restoration(task.Restoration):
    """Restoration and super-resolution, with a pixel loss and maybe one of features."""

    def __init__(self, config: ml_collections.ConfigDict):
        """Builds the network, so that a mistake in it shows at once.

        Raises:
          ConfigError: a field is unknown or out of range.
        """
        super().__init__(config)
        configs.check_sections(config, self.defaults(), _SECTIONS)
        _check_loss(config.loss)
        if config.model.name == "bicubic":
            raise ConfigError(
                "config.model.name=bicubic has nothing to learn; every evaluation of a "
                "super-resolution has it as psnr_input"
            )
        self.model = networks.create(
            config.model.name,
            scale=self.scale,
            dtype=config.dtype,
            **self._model_fields(),
        )
        multiple = self.model.size_multiple
        if any(side % multiple for side in self.batch_spec(1)["image"].shape[1:3]):
            raise ConfigError(
                f"config.data.image_size={config.data.image_size} makes inputs whose "
                f"sides are no multiples of {multiple}, as the network asks"
            )
        self.feature_loss = self._feature_loss()

    @staticmethod
    def defaults() -> ml_collections.ConfigDict:
        """Returns the fields that a config of this task has."""
        return default_config()

    def _model_fields(self) -> dict[str, Any]:
        fields = given(self.config.model.options)
        # Networks without deep stacks have nothing to compute again.
        if self.config.model.remat != "none":
            fields["remat"] = self.config.model.remat
        return fields

    def _feature_loss(self) -> FeatureLoss | None:
        loss = self.config.loss
        if not loss.feature:
            return None
        return FeatureLoss(
            loss.feature,
            loss.trunk,
            loss.trunk_weights,
            loss.layers,
            given(loss.options),
        )

    @property
    def _calibrates(self) -> bool:
        return self.feature_loss is not None and self.config.loss.weight is None

    def init(self, key: jax.Array, batch: Batch) -> Variables:
        """Random parameters; with a feature loss, what its weight is found by."""
        variables = dict(self._init_model(key, batch))
        if self.feature_loss is not None:
            variables["calibration"] = {
                "ratio": jnp.zeros(()),
                "batches": jnp.zeros(()),
            }
        return variables

    def read_weights(self, init_from: str, target: Variables) -> dict[str, np.ndarray]:
        """Reads weights of ours; a calibration is that of one run and begins anew."""
        found = super().read_weights(init_from, target)
        kept = {n: x for n, x in found.items() if not n.startswith("calibration/")}
        for name in target.get("calibration", {}):
            kept[f"calibration/{name}"] = np.zeros((), np.float32)
        return kept

    def _init_model(self, key: jax.Array, batch: Batch) -> Variables:
        images = to_unit(batch["image"][:1])
        return self.model.init(key, images, *self._told(batch, 1))

    def frozen(self) -> Mapping[str, Any]:
        """The network that the feature loss looks through."""
        return self.feature_loss.variables() if self.feature_loss else {}

    def loss(self, variables: Variables, batch: Batch, key: jax.Array) -> LossOutput:
        """The pixel loss, and the feature loss with its weight.

        The weight is `config.loss.ratio` times the mean over the first batches of how
        much longer the pixel loss' gradient for the restored image is. While they are
        counted the mean so far is used. Of an accumulated batch each part counts.
        """
        target = to_unit(batch["target"])
        restored = self._apply(variables, batch, self.model)
        pixel = functools.partial(self._pixel_loss, target=target)
        losses = pixel(restored)
        metrics = {"psnr": training_psnr(restored, target), "pixel_loss": losses}
        state = {name: x for name, x in variables.items() if name != "params"}
        if self.feature_loss is not None:
            look = functools.partial(
                self.feature_loss, variables["frozen"], targets=target, key=key
            )
            weight, state = self._weight(state, pixel, look, restored)
            features = look(restored)
            losses = losses + weight * features
            metrics["feature_loss"] = features
            metrics["feature_weight"] = jnp.broadcast_to(weight, features.shape)
        return LossOutput(loss=losses, model_state=state, metrics=metrics)

    def _weight(
        self, state: Mapping[str, Any], pixel: Any, look: Any, restored: jax.Array
    ) -> tuple[jax.Array, dict[str, Any]]:
        """Returns the feature loss' weight and the state after this batch."""
        loss = self.config.loss
        if not self._calibrates:
            return jnp.float32(loss.weight), dict(state)
        seen = state["calibration"]

        def count(images: jax.Array) -> dict[str, jax.Array]:
            found = gradient_ratio(
                lambda x: pixel(x).mean(), lambda x: look(x).mean(), images
            )
            # Nothing can be said where the feature loss has no gradient.
            batches = seen["batches"] + (found > 0)
            change = (found - seen["ratio"]) / jnp.maximum(batches, 1)
            mean = seen["ratio"] + jnp.where(found > 0, change, 0)
            return {"ratio": mean, "batches": batches}

        more = seen["batches"] < loss.calibration_steps
        images = jax.lax.stop_gradient(restored)
        after = jax.lax.cond(more, count, lambda _: dict(seen), images)
        after = jax.lax.stop_gradient(after)
        return loss.ratio * after["ratio"], {**state, "calibration": after}

    def _apply(
        self, variables: Variables, batch: Batch, model: networks.Network
    ) -> jax.Array:
        images, params = to_unit(batch["image"]), {"params": variables["params"]}
        told = self._told(batch, len(images))
        restored: Any = model.apply(params, images, *told)
        return restored

    def _told(self, batch: Batch, size: int) -> tuple[jax.Array, ...]:
        """Returns what the network is told beside the first images of a batch."""
        del batch, size
        return ()

    def _pixel_loss(self, restored: jax.Array, target: jax.Array) -> jax.Array:
        loss = self.config.loss
        if loss.pixel == "charbonnier":
            return charbonnier(restored, target, loss.epsilon)
        gap = difference(restored, target)
        size = jnp.abs(gap) if loss.pixel == "l1" else jnp.square(gap)
        return size.mean((1, 2, 3))

    def restorer(self, variables: Variables, bfloat16: bool = False) -> Restorer:
        """Binds the network to variables, for images of any size.

        It computes in float32, also after training in bfloat16, unless asked not to.
        """
        model = self.model.clone(dtype=jnp.bfloat16 if bfloat16 else jnp.float32)

        def apply(variables: Variables, images: jax.Array) -> jax.Array:
            return self._apply(variables, {"image": images}, model)

        return Restorer(
            apply,
            variables,
            model.size_multiple,
            bfloat16,
            scale=self.scale,
            radius=model.receptive_radius,
            channels=None if getattr(model, "shared_bands", False) else model.channels,
            mosaic=isinstance(model, networks.Demosaicing),
        )


def _check_loss(loss: ml_collections.ConfigDict) -> None:
    if loss.pixel not in _PIXEL_LOSSES:
        raise ConfigError(
            configs.unknown("config.loss.pixel", loss.pixel, _PIXEL_LOSSES)
        )
    if not loss.epsilon > 0:
        raise ConfigError(f"config.loss.epsilon={loss.epsilon} must be above 0")
    if not 0 < loss.ratio < math.inf or loss.calibration_steps < 1:
        raise ConfigError(
            f"config.loss.ratio={loss.ratio} must be above 0 and "
            f"config.loss.calibration_steps={loss.calibration_steps} at least 1"
        )
    if loss.weight is not None and not 0 <= loss.weight < math.inf:
        raise ConfigError(f"config.loss.weight={loss.weight} must be at least 0")
