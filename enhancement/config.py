"""The fields that every experiment of this package has, with their defaults."""

import math
from typing import Any

import ml_collections
from ml_collections import config_dict

from common import config as configs
from common.restoration import task
from enhancement import networks

# Fields of networks and arguments of losses, so that a command line can set them; None
# is their own default.
_OF_NETWORKS: dict[str, type] = {
    "features": int,
    "num_blocks": int,
    "num_groups": int,
    "growth": int,
    "reduction": int,
    "residual_scale": float,
    "pattern": str,
    "conditioning": int,
    "radiometric": bool,
    "shared_bands": bool,
    "wide": bool,
}
_OF_LOSSES: dict[str, type] = {
    "p": int,
    "projection": str,
    "num_projections": int,
    "reduction": str,
    "normalization": str,
    "border": int,
    "sigma": float,
    "spatial_weight": float,
    "max_positions": int,
}


def default_config() -> ml_collections.ConfigDict:
    """Returns restoration's defaults with the losses of a study.

    All of it is our choice, as the papers' settings could not be read; see the README.
    """
    config = task.default_config()
    config.model.name = "restoration"  # one of enhancement.networks.NETWORKS
    config.model.remat = "none"
    config.model.options = _unset(_OF_NETWORKS)

    config.loss = ml_collections.ConfigDict()
    config.loss.pixel = "l1"  # or l2, charbonnier
    config.loss.epsilon = 1e-3  # of Charbonnier
    config.loss.feature = ""  # a key of enhancement.feature_losses.LOSSES; "": none
    config.loss.layers = "default"  # a preset of common.losses.feature_layers
    config.loss.options = _unset(_OF_LOSSES)
    config.loss.trunk = "vgg19"  # whose maps are compared; of lpips: vgg or alex
    # File of its weights, or "random", which learned nothing, for runs without any.
    config.loss.trunk_weights = ""
    # How strongly the feature loss pulls, over the pixel loss: r of the calibration.
    config.loss.ratio = 1.0
    config.loss.calibration_steps = 64
    config.loss.weight = config_dict.placeholder(float)  # given: no calibration

    config.optimizer.name = "adam"
    config.schedule.name = "cosine"
    config.schedule.peak = 1e-4
    return config


def _unset(fields: dict[str, type]) -> ml_collections.ConfigDict:
    unset = {name: config_dict.placeholder(kind) for name, kind in fields.items()}
    return ml_collections.ConfigDict(unset)


def satellite_config() -> ml_collections.ConfigDict:
    """Returns the defaults of super-resolution of satellite images.

    All of it is our choice, as the paper's settings could not be read; see the README.
    """
    config = default_config()
    config.task = "satellite"
    config.model.name = "satsr"
    config.loss.pixel = "charbonnier"
    config.degradation.name = "full"  # a preset of enhancement.satellite
    config.degradation.parameters.factor = 2
    config.degradation.parameters.mix = 0.1  # of ideal_bicubic, in training
    # Of the preset; in a copy of a config file set further ones.
    config.degradation.parameters.fields = _unset({"sensor": str})
    config.evaluation.preset = ""  # that made the test images; "": as in training
    config.evaluation.border = 2
    return config


def given(options: ml_collections.ConfigDict) -> dict[str, Any]:
    """Returns the options that are set."""
    return {name: x for name, x in options.to_dict().items() if x is not None}


def set_network(config: ml_collections.ConfigDict, name: str, **options: Any) -> None:
    """Puts another network into a config, with some of its options.

    Args:
      config: to change.
      name: a key of `networks.NETWORKS`.
      **options: of networks; those that this one does not have are left out.
    """
    known = networks.fields(name)
    config.model.name = name
    for option in config.model.options:
        value = options.get(option) if option in known else None
        config.model.options[option] = value


def fine_tune(
    config: ml_collections.ConfigDict, feature: str, weights: str = ""
) -> None:
    """Makes the second phase of a config: a feature loss beside the pixel loss.

    Half the learning rate, a third of the steps, and weights of the first phase by
    `--init_from`.

    Args:
      config: of the first phase.
      feature: a key of `feature_losses.LOSSES`; "" for the pixel loss alone.
      weights: file of the trunk's, or "random".
    """
    config.loss.feature = feature
    config.loss.trunk_weights = weights
    if feature in ("cx", "cobi"):
        config.loss.layers = "cx"
    if feature == "lpips":
        config.loss.trunk = "vgg"
    config.schedule.peak /= 2
    config.total_steps = -(-config.total_steps // 3)


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of two blocks on images of some 32 pixels.

    A feature loss looks through a network that learned nothing.
    """
    configs.shrink(config)
    config.batch_size = 8
    factor = config.degradation.parameters.get("factor", 1)
    side = factor * max(8, 4 * math.ceil(8 / factor))
    config.data.image_size = config.evaluation.crop = side
    config.evaluation.border = min(config.evaluation.border, 4)
    task.measure_nothing(config)
    small = {"features": 4, "num_blocks": 2, "num_groups": 1, "reduction": 2}
    set_network(config, config.model.name, **small, growth=2)
    config.model.remat = "none"
    if config.loss.feature:
        config.loss.layers = "shallow"
        config.loss.trunk_weights = "random"
