"""The fields of experiments with noisy training data, with their defaults."""

import ml_collections
from ml_collections import config_dict

from common import classification


def default_config() -> ml_collections.ConfigDict:
    """Returns classification's defaults with a network and with noise."""
    config = classification.default_config()
    config.task = "classification"
    config.model.name = "cnn"  # see robust.models
    config.model.widths = (32, 64)  # of the cnn's convolutions
    config.model.hidden = 1024  # of its dense layer
    config.model.dropout = 0.5
    config.model.stem = config_dict.placeholder(str)  # of a ResNet

    # What is wrong with the training data, see robust.sources.
    config.noise = ml_collections.ConfigDict()
    config.noise.kind = "none"
    config.noise.rate = 0.0
    config.noise.seed = 0
    config.noise.label_field = ""  # human: the feature with people's labels
    config.noise.oracle = False  # train on the clean examples alone
    config.noise.everything = False  # train on the evaluation split, too
    return config
