"""The fields that every experiment of this package has, with their defaults."""

import ml_collections
from ml_collections import config_dict

from common import config as configs
from common.restoration import task
from deblur_diffusion.schedule import TRAINING


def default_config() -> ml_collections.ConfigDict:
    """Returns restoration's defaults with those of the paper (arXiv 2112.02475).

    The paper gives crops, turns and 1 M steps; optimiser, rate, averaging and the
    schedule of training are those of the code bases around it, the rest is our choice.
    """
    config = task.default_config()
    config.model.variant = "residual"  # a key of deblur_diffusion.models.VARIANTS
    config.model.remat = "none"
    # Further arguments of `models.create`; None is the variant's own.
    config.model.options = ml_collections.ConfigDict(
        {
            "predictor_features": config_dict.placeholder(int),
            "denoiser_features": config_dict.placeholder(int),
            "multipliers": config_dict.placeholder(tuple),
            "num_blocks": config_dict.placeholder(int),
            "dropout": config_dict.placeholder(float),
            "resampling": config_dict.placeholder(str),
            "skip_rescale": config_dict.placeholder(bool),
            "global_skip": config_dict.placeholder(bool),
        }
    )

    config.loss = ml_collections.ConfigDict()
    config.loss.name = "diffusion"  # or regression: the predictor alone, by L2
    beta_min, beta_max, steps = TRAINING
    config.loss.beta_min = beta_min
    config.loss.beta_max = beta_max
    config.loss.steps = steps

    # How evaluation samples; quick, and near to the least error.
    config.evaluation.steps = 10
    config.evaluation.beta_max = 0.5
    config.evaluation.num_samples = 1
    config.evaluation.fid_patch = (240, 256)  # of GoPro's frames 15 (section 5)

    config.data.image_size = 128
    config.ema_decay = 0.9999
    config.optimizer.name = "adam"
    config.schedule.name = "constant"
    config.schedule.peak = 1e-4
    config.schedule.warmup_steps = 10_000
    return config


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of the testing networks on 32 pixels."""
    configs.shrink(config)
    task.measure_nothing(config)
    config.batch_size = 8
    config.data.image_size = 32
    config.evaluation.crop = 32
    config.evaluation.steps = 2
    config.evaluation.num_samples = 1
    options = config.model.options
    options.denoiser_features, options.multipliers, options.num_blocks = 4, (1, 1), 1
    if config.model.variant != "plain":
        config.model.variant = "testing"
        options.predictor_features = 4
    config.model.remat = "none"
