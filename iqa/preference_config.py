"""The fields of experiments with preferences, with their defaults."""

import ml_collections

from common import config as configs


def default_config() -> ml_collections.ConfigDict:
    """Returns the shared defaults with those of a CIQA-style metric (iqa/ciqa.py)."""
    config = configs.default()
    config.task = "preference"
    config.data.source = "ciqa"  # see iqa.preference_data
    config.data.image_size = 256  # of training crops
    config.preprocess = ml_collections.ConfigDict()
    config.preprocess.normalization = "imagenet"
    config.augment.flip = True
    config.model.name = "distance"  # or concatenation, see iqa.compression_metric
    config.model.backbone = "vgg16"
    config.model.taps = ()  # feature maps; () for the usual ones
    config.model.dropout = 0.5
    config.loss = ml_collections.ConfigDict()
    # Of max(0, s(ref, x) - s(ref, ref)), which is 0 for "distance" in any case.
    config.loss.reference_weight = 0.0
    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.lpips = ""  # files of its weights, joined by commas
    config.evaluation.lpips_net = "alex"
    config.evaluation.dists = ""
    return config


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of a small network on 32 pixels."""
    configs.shrink(config)
    config.data.image_size = 32
    config.model.backbone = "small"
    config.model.taps = ()
    config.evaluation.lpips = config.evaluation.dists = ""
