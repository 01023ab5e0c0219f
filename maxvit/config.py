"""The fields that every MaxViT experiment has, with their defaults."""

import ml_collections
from ml_collections import config_dict

from common import classification


def default_config() -> ml_collections.ConfigDict:
    """Returns classification's defaults with the model's section.

    Fields of the model that are None are the variant's, see `maxvit.models.create`.
    """
    config = classification.default_config()
    config.task = "classification"
    config.model.variant = "tiny"
    config.model.block_layout = config_dict.placeholder(str)
    config.model.drop_path_rate = config_dict.placeholder(float)
    config.model.remat = "none"
    # Each one side or (height, width); `object` takes both.
    config.model.window_size = config_dict.placeholder(object)
    config.model.grid_size = config_dict.placeholder(object)
    config.model.stem_width = config_dict.placeholder(int)
    config.model.depths = config_dict.placeholder(tuple)
    config.model.channels = config_dict.placeholder(tuple)
    config.model.head_dim = config_dict.placeholder(int)
    return config


def shrink_model(config: ml_collections.ConfigDict) -> None:
    """The model's part of the `smoke` argument: two tiny stages at 64 pixels."""
    config.data.image_size = 64
    config.model.variant = "testing"
    config.model.depths = (1, 1)
    config.model.channels = (8, 16)
    if config.model.block_layout:
        first_two = config.model.block_layout.split(",")[:2]
        config.model.block_layout = ",".join(first_two)
