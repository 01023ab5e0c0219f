"""The fields of experiments with a resizer before a network, with their defaults."""

import ml_collections
from ml_collections import config_dict

from common import classification
from common import config as configs
from common.size import Size
from resizer import phases


def resizer_fields() -> ml_collections.ConfigDict:
    """Returns the arguments of `models.make` for the paper's resizer."""
    fields = ml_collections.ConfigDict()
    fields.kind = "learned"  # or bilinear, the control
    fields.features = 16
    fields.num_blocks = 1
    fields.method = "linear"
    fields.antialias = False
    fields.negative_slope = 0.2
    fields.norm = config_dict.FieldReference("batch", field_type=object)  # or None
    fields.zero_init_tail = False
    fields.remat_stem = False
    return fields


def phase_fields() -> ml_collections.ConfigDict:
    """Returns the two phases of the paper: what `phases.apply` makes of a config."""
    fields = ml_collections.ConfigDict()
    # The rates are the paper's, the lengths are ours: it gives none.
    fields.pretrain_epochs = 90.0  # of the network, behind the bilinear resize
    fields.pretrain_rate = 0.05
    fields.tune_epochs = 20.0  # of both
    fields.tune_rate = 0.005
    fields.resizer_factor = 1.0  # of the resizer's learning rate, in the second phase
    fields.cross_epochs = 5.0  # of both, for a resizer of another network
    return fields


def put_behind(config: ml_collections.ConfigDict, output_size: Size) -> None:
    """Puts the network of another package's config behind the paper's resizer.

    Args:
      config: with `model.backbone`, a name of the registry, and `model.options`.
      output_size: side, or (height, width), that the network sees.
    """
    options = ml_collections.ConfigDict()
    options.backbone, options.options = config.model.backbone, config.model.options
    options.output_size = config_dict.FieldReference(output_size, field_type=object)
    options.resizer = resizer_fields()
    config.model.backbone, config.model.options = "resized", options
    config.phases = phase_fields()


def default_config() -> ml_collections.ConfigDict:
    """Returns classification's defaults with the recipe of the paper (2103.09950)."""
    config = classification.default_config()
    config.task = "classification"
    config.data.image_size = 448  # what the resizer sees
    config.model.backbone = "resnet50"  # a key of common.models.registry.BACKBONES
    config.model.options = ml_collections.ConfigDict()  # further fields of it
    # What the backbone sees: a side or (height, width).
    config.model.output_size = config_dict.FieldReference(224, field_type=object)
    config.model.resizer = resizer_fields()
    config.phases = phase_fields()

    # The whole image is resized, whatever its shape, as the paper does.
    config.preprocess.eval_crop = "squash"
    config.loss.label_smoothing = 0.1
    config.optimizer.name = "sgd"
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4  # this and where it is not: ours
    config.optimizer.no_decay = ("bias", "scale")
    config.schedule.name = "exponential"
    config.schedule.decay_rate = 0.94
    config.schedule.decay_every_epochs = 2.0
    return config


def imagenet(input_size: Size) -> ml_collections.ConfigDict:
    """Returns the defaults for ImageNet-1k from TFDS, with activations in bfloat16."""
    config = default_config()
    config.data.source = "tfds"
    config.data.name = "imagenet2012:5.1.0"
    config.data.num_classes = 1000
    config.data.num_workers = 16
    config.data.image_size = input_size
    config.dtype = "bfloat16"
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 1.0
    return config


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of a thin network on 32 pixels, from 48."""
    configs.shrink(config)
    phases.shrink(config)
    config.data.image_size = 48
    config.model.backbone = "cnniqa"
    config.model.options = ml_collections.ConfigDict({"hidden": 8, "kernels": 4})
    config.model.output_size = 32
    config.model.resizer.features = 4
    config.optimizer.no_decay = ("bias",)  # the thin network has no norms
