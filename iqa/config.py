"""The fields that every experiment with scores has, with their defaults."""

import ml_collections

from common import config as configs
from common import image_task


def default_config() -> ml_collections.ConfigDict:
    """Returns the defaults of images with those of NIMA (arXiv 1709.05424)."""
    config = image_task.default_config()
    config.task = "nima"
    config.model.backbone = "maxvit_tiny"  # a key of common.models.registry.BACKBONES
    config.model.options = ml_collections.ConfigDict()  # further fields of it
    config.model.num_scores = 10
    config.model.dropout = 0.75
    config.loss = ml_collections.ConfigDict()
    config.loss.r = 2.0  # of the earth mover's distance
    config.data.source = "ava"
    config.preprocess.eval_crop = "squash"
    config.augment.crop = "random"
    config.augment.resize = 256
    config.optimizer.name = "sgd"
    config.optimizer.momentum = 0.9
    return config


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of a thin network on 32 pixels."""
    configs.shrink(config)
    config.data.image_size = 32
    config.augment.resize = 0
    config.preprocess.eval_crop = "native"
    config.model.backbone = "cnniqa"
    config.model.options = ml_collections.ConfigDict({"hidden": 8, "kernels": 4})
