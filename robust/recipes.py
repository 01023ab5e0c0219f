"""What several experiments with noisy labels have in common."""

import ml_collections

from common import config as configs


def use_tfds(config: ml_collections.ConfigDict, name: str, image_size: int) -> None:
    """Reads a set of TFDS with small images, whole and as they are."""
    config.data.source = "tfds"
    config.data.name = name
    config.data.eval_split = "test"
    config.data.image_size = image_size
    config.data.num_workers = 2
    config.preprocess.eval_crop = "squash"
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 10.0
    config.log_every_steps = 100


def reweight(config: ml_collections.ConfigDict) -> None:
    """Exponentiated gradient with cross entropy, as the digits were tried with.

    With a mean gap of about 3 between the losses of wrong and right examples, the rate
    0.01 and 160 epochs leave a wrong one a hundredth of the weight of a right one
    (exp(-0.01 * 3 * 160)); it is the default of MR's code, too.
    """
    config.reweighting.mode = "deferred"
    config.reweighting.eta = 0.05 if config.total_epochs < 100 else 0.01


def cifar(config: ml_collections.ConfigDict) -> None:
    """SGD with the constants of MR's code (arXiv 2102.12192), and 160 epochs.

    Its rate falls by 10 at epochs 80 and 120; here by a cosine, which is our choice.
    """
    config.augment.crop = "padded"
    config.batch_size = 128
    config.total_epochs = 160.0
    config.optimizer.name = "sgd"
    config.optimizer.momentum = 0.9
    config.optimizer.weight_decay = 1e-4
    config.schedule.peak = 0.1


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of a network of some hundred parameters."""
    configs.shrink(config)
    config.data.image_size = 8
    config.model.name = "cnn"
    config.model.stem = None
    config.model.widths, config.model.hidden = (4, 4), 8
