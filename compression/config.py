"""The fields of experiments that learn tables of a data set, with their defaults."""

import ml_collections
from ml_collections import config_dict

from common import config as configs


def default_config() -> ml_collections.ConfigDict:
    """Returns the shared defaults with a ladder of rate-distortion tables."""
    config = configs.default()
    config.task = "tables"
    config.data.image_size = 256  # of training crops
    config.model.rate_weights = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
    config.model.subsampling = "4:4:4"

    config.loss = ml_collections.ConfigDict()
    config.loss.distortion = 1.0  # weight of the squared error, scale [0, 255]
    config.loss.accuracy = 0.0  # weight of the classifier's cross entropy
    config.loss.rounding = "straight_through"
    config.loss.rate_model = "laplace"

    # The frozen classifier: a name of `common.models.registry`, the config of its
    # experiment without data, and its weights, which --init_from sets.
    config.classifier = ml_collections.ConfigDict()
    config.classifier.name = ""
    config.classifier.config = ml_collections.ConfigDict()
    config.classifier.weights = config_dict.placeholder(str)

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.optimize_huffman = True  # each file has its own Huffman tables
    config.evaluation.qualities = tuple(range(5, 100, 5))  # of Annex K, beside ours
    config.evaluation.flat_steps = (4, 6, 8, 12, 16, 24, 32, 48, 64)

    config.batch_size = 16
    config.total_steps = 5000
    config.log_every_steps = 50
    # Learning rates are relative changes of the steps: parameters are logarithms.
    config.optimizer.name = "adam"
    config.schedule.name = "cosine"
    config.schedule.peak = 0.01
    return config


def use_classifier(
    config: ml_collections.ConfigDict, name: str, experiment: ml_collections.ConfigDict
) -> None:
    """Makes accuracy the aim: images and labels are those of a classification.

    Args:
      config: from `default_config`, changed in place.
      name: of the classifier in `common.models.registry`.
      experiment: with which it was trained; its `data` is moved to this config.
    """
    config.classifier.name = name
    config.data = experiment.data
    del experiment.data  # one place for what the images are
    config.classifier.config = experiment
    config.loss.distortion = 0.0
    config.loss.accuracy = 1.0


def shrink(config: ml_collections.ConfigDict) -> None:
    """The `smoke` argument: seconds of two tables on 64 pixels."""
    configs.shrink(config)
    config.batch_size = config.eval_batch_size = 8
    config.data.image_size = 64
    config.model.rate_weights = (10.0, 80.0)
    config.evaluation.qualities = (10, 50, 90)
    config.evaluation.flat_steps = (8, 24)
