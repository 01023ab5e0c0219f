"""The training recipes of the paper's table 12 (arXiv 2204.01697).

A file in `configs/maxvit` is one column of the table: it takes one of these recipes,
and names the data and what is its own. What the paper does not give and we chose (how
often to evaluate, betas, worker processes) is marked or is a default.
"""

from __future__ import annotations

import ml_collections

from common import config as configs
from common.errors import ConfigError
from maxvit.config import default_config, shrink_model

# Stochastic depth, per column and variant.
DROP_PATH = {
    "imagenet1k": {"T": 0.2, "S": 0.3, "B": 0.4, "L": 0.6},
    "imagenet1k_finetune": {"T": 0.2, "S": 0.3, "B": 0.4, "L": 0.6},
    "imagenet21k": {"B": 0.3, "L": 0.4, "XL": 0.6},
    "imagenet21k_finetune": {"B": 0.4, "L": 0.5, "XL": 0.9},
    "jft": {"B": 0.0, "L": 0.0, "XL": 0.0},
    "jft_finetune": {"B": 0.1, "L": 0.2, "XL": 0.2},
}


def imagenet1k(variant: str) -> ml_collections.ConfigDict:
    """Training on ImageNet-1k from scratch at 224 pixels."""
    config = _pretraining("imagenet1k", variant)
    imagenet1k_data(config)
    config.augment.randaugment_magnitude = 15.0
    config.augment.mixup_alpha = 0.8
    config.loss.label_smoothing = 0.1
    config.total_epochs = 300.0
    config.optimizer.weight_decay = 0.05
    config.schedule.name = "cosine"
    config.schedule.peak = 3e-3
    config.schedule.warmup_steps = 10_000
    return config


def large_scale(column: str, variant: str) -> ml_collections.ConfigDict:
    """Pre-training on more images, with a sigmoid per class, at 224 pixels.

    The pixels are scaled to [-1, 1], as the released ImageNet-21k weights expect them.
    Length, warm-up and label smoothing are the caller's.

    Args:
      column: a key of `DROP_PATH`.
      variant: a key of `DROP_PATH[column]`.

    Raises:
      ConfigError: the column has no such variant.
    """
    config = _pretraining(column, variant)
    config.data.source = "folder"
    set_size(config, 224, normalization="half")
    config.augment.randaugment_magnitude = 5.0
    config.loss.name = "sigmoid"
    config.optimizer.weight_decay = 0.01
    config.schedule.name = "linear"
    config.schedule.peak = 1e-3
    return config


def finetuning(
    column: str, variant: str, image_size: int, normalization: str
) -> ml_collections.ConfigDict:
    """Fine-tuning on ImageNet-1k; mixup is the caller's.

    Args:
      column: a key of `DROP_PATH`.
      variant: a key of `DROP_PATH[column]`.
      image_size: side of the images.
      normalization: of the weights to start from, see `set_size`.

    Raises:
      ConfigError: the column has no such variant.
    """
    config = _start(column, variant)
    imagenet1k_data(config)
    set_size(config, image_size, normalization)
    finetune(config)
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 1.0
    return config


def finetune(config: ml_collections.ConfigDict) -> None:
    """Sets what the table's three columns of fine-tuning share."""
    adamw(config)
    config.augment.randaugment_layers = 2
    config.augment.randaugment_magnitude = 15.0
    config.loss.label_smoothing = 0.1
    config.batch_size = 512
    config.total_epochs = 30.0
    config.ema_decay = 0.9999
    config.optimizer.weight_decay = 1e-8
    config.schedule.name = "constant"
    config.schedule.peak = 5e-5
    config.schedule.final = 5e-5
    # The official fine-tuning drops the classifier, also one of as many classes.
    config.reinitialize = ("^params/head/logits/",)


def set_size(
    config: ml_collections.ConfigDict, image_size: int, normalization: str
) -> None:
    """Sets the image size, and what the released weights of that size saw.

    Above 224 pixels they were evaluated without a centre crop, on the whole image
    squashed to the square, and with pixels in [-1, 1]; our reading of the table's row
    "center crop" (yes for pre-training, no for fine-tuning, which is at 384 and 512).

    Args:
      config: of which to set `data` and `preprocess`.
      image_size: side of the images.
      normalization: at 224 pixels: "imagenet" for ImageNet-1k's weights, "half" for
        those of ImageNet-21k.
    """
    large = image_size > 224
    config.data.image_size = image_size
    config.preprocess.normalization = "half" if large else normalization
    config.preprocess.eval_crop = "squash" if large else "official"


def imagenet1k_data(config: ml_collections.ConfigDict) -> None:
    """Reads ImageNet-1k from TFDS."""
    config.data.source = "tfds"
    config.data.name = "imagenet2012:5.1.0"
    config.data.num_classes = 1000


def adamw(config: ml_collections.ConfigDict) -> None:
    """Sets what all runs share: AdamW with the gradient's norm clipped, bfloat16."""
    config.dtype = "bfloat16"
    config.optimizer.name = "adamw"
    # The official code spares names with bias, scale, gain, gamma or beta; ours has
    # the first two, the relative_bias tables among them.
    config.optimizer.no_decay = ("bias", "scale")
    config.optimizer.clip_norm = 1.0


def finish(config: ml_collections.ConfigDict, smoke: bool) -> ml_collections.ConfigDict:
    """Returns the config, made tiny for the `smoke` argument."""
    if smoke:
        configs.shrink(config)
        shrink_model(config)
    return config


def _pretraining(column: str, variant: str) -> ml_collections.ConfigDict:
    """What the table's three columns of training from scratch share."""
    config = _start(column, variant)
    adamw(config)
    set_size(config, 224, normalization="imagenet")
    config.augment.randaugment_layers = 2
    config.batch_size = 4096
    config.eval_batch_size = 1024
    config.eval_every_epochs = 5.0
    config.checkpoint_every_epochs = 1.0
    config.schedule.final = 1e-5
    return config


def _start(column: str, variant: str) -> ml_collections.ConfigDict:
    rates = DROP_PATH[column]
    if variant not in rates:
        raise ConfigError(configs.unknown("variant", variant, rates))
    config = default_config()
    config.data.num_workers = 16
    config.model.variant = variant
    config.model.drop_path_rate = rates[variant]
    return config
