"""The fields that every MAXIM experiment has, with their defaults."""

import ml_collections
from ml_collections import config_dict

from common import config as configs
from common.restoration import task


def default_config() -> ml_collections.ConfigDict:
    """Returns restoration's defaults with those of the paper.

    Fields of the model that are None are the variant's, see `maxim.models.create`.
    """
    config = task.default_config()
    config.model.variant = "S-2"
    config.model.num_supervision_scales = 3
    config.model.remat = "none"
    config.model.features = config_dict.placeholder(int)
    config.model.depth = config_dict.placeholder(int)
    config.model.num_stages = config_dict.placeholder(int)
    config.model.num_groups = config_dict.placeholder(int)
    config.model.num_bottleneck_blocks = config_dict.placeholder(int)
    config.model.high_res_stages = config_dict.placeholder(int)
    # Each one side or (height, width); `object` takes both.
    config.model.block_size_hr = config_dict.placeholder(object)
    config.model.grid_size_hr = config_dict.placeholder(object)
    config.model.block_size_lr = config_dict.placeholder(object)

    config.loss = ml_collections.ConfigDict()
    config.loss.epsilon = 1e-3  # of Charbonnier
    config.loss.frequency_weight = 0.1
    # The paper does not say these four; the defaults are our choice (README).
    config.loss.charbonnier_distance = "element"  # or pixel
    config.loss.frequency_distance = "parts"  # or modulus
    config.loss.frequency_norm = "backward"  # or ortho
    config.loss.target_antialias = True  # of targets at lower scales

    config.augment.mixup_probability = 0.5
    config.augment.mixup_alpha = 1.2  # not in the paper: that of Restormer's code

    config.optimizer.name = "adam"
    config.schedule.name = "cosine"
    config.schedule.peak = 2e-4
    config.schedule.final = 1e-7
    return config


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of one small stage on 32 pixels."""
    configs.shrink(config)
    config.data.image_size = 32
    config.evaluation.crop = 32
    config.model.variant = "S-1"
    config.model.num_supervision_scales = 2
    config.model.features = 8
    config.model.depth = 2
    config.model.num_stages = 1
    config.model.num_groups = 1
    config.model.num_bottleneck_blocks = 1
    config.model.block_size_hr = 4
    config.model.grid_size_hr = 4
    config.model.block_size_lr = 2
    config.model.remat = "none"
