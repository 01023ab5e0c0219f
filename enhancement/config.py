"""The fields that every experiment of this package has, with their defaults."""

import ml_collections
from ml_collections import config_dict

from common import config as configs
from common.restoration import task


def default_config() -> ml_collections.ConfigDict:
    """Returns restoration's defaults with the losses of a study.

    All of it is our choice, as the papers' settings could not be read; see the README.
    """
    config = task.default_config()
    config.model.name = "restoration"  # one of enhancement.networks.NETWORKS
    config.model.remat = "none"
    config.model.options = ml_collections.ConfigDict()  # further fields of it

    config.loss = ml_collections.ConfigDict()
    config.loss.pixel = "l1"  # or l2, charbonnier
    config.loss.epsilon = 1e-3  # of Charbonnier
    config.loss.feature = ""  # a key of enhancement.feature_losses.LOSSES; "": none
    config.loss.layers = "default"  # a preset of common.losses.feature_layers
    config.loss.options = ml_collections.ConfigDict()  # further arguments of the loss
    config.loss.trunk = "vgg19"  # whose maps are compared; lpips: vgg or alex
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
    config.degradation.parameters.fields = ml_collections.ConfigDict()
    config.evaluation.preset = ""  # that made the test images; "": as in training
    config.evaluation.border = 2
    return config


def fine_tune(
    config: ml_collections.ConfigDict, feature: str, weights: str = ""
) -> None:
    """Makes the second phase of a config: a feature loss beside the pixel loss.

    Half the learning rate, a third of the steps, and weights of the first phase by
    `--init_from`.

    Args:
      config: of the first phase.
      feature: a key of `feature_losses.LOSSES`.
      weights: file of the trunk's, or "random".
    """
    config.loss.feature = feature
    config.loss.trunk_weights = weights
    if feature in ("cx", "cobi") and config.loss.layers == "default":
        config.loss.layers = "cx"
    config.schedule.peak /= 2
    config.total_steps = -(-config.total_steps // 3)
    config.reinitialize = (CALIBRATION,)


CALIBRATION = "^calibration/"


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of two blocks on 32 pixels."""
    configs.shrink(config)
    config.batch_size = 8
    config.data.image_size = 32
    config.evaluation.crop = 32
    config.evaluation.border = min(config.evaluation.border, 4)
    task.measure_nothing(config)
    config.model.options = ml_collections.ConfigDict()
    config.model.options.features = 4
    if config.model.name not in ("bicubic", "srcnn"):
        config.model.options.num_blocks = 2
    config.model.remat = "none"
    if config.loss.feature:
        config.loss.layers = "shallow"
        config.loss.trunk_weights = "random"
