"""MNIST with wrong labels, and two convolutions.

    python -m robust.main --config=configs/robust/mnist.py --workdir=runs/mnist
    python -m robust.main --config=configs/robust/mnist.py:noise=asymmetric_mnist \
        --config.noise.rate=0.2 --workdir=runs/mnist_asymmetric

Data: TFDS `mnist`, prepared as ArrayRecord (the error message says how), or folders
with `--config.data.source=folder`. Hardware: any GPU, or a patient CPU. Expected
metric: not run.
"""

from common import config as configs
from robust import recipes
from robust.config import default_config


def get_config(arg: str | None = None):
    """Arguments: the kind of `noise`, `smoke` for a run of seconds.

    The network is what the label-noise literature uses; optimiser and length are ours.
    """
    args = configs.parse_arg(arg, noise="symmetric", smoke=False)
    config = default_config()
    recipes.use_tfds(config, "mnist", image_size=28)
    config.preprocess.normalization = "half"
    config.augment.crop = "none"
    config.augment.flip = False
    config.noise.kind = args.noise
    config.noise.rate = 0.4

    config.batch_size = 128
    config.total_epochs = 50.0
    config.optimizer.name = "adam"
    config.schedule.peak = 1e-3
    recipes.reweight(config)
    if args.smoke:
        recipes.shrink(config)
    return config
