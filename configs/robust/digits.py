"""Scikit-learn's digits with wrong labels, and a small network: minutes on a laptop.

    python -m robust.main --config=configs/robust/digits.py --workdir=runs/noisy
    python -m robust.main --config=configs/robust/digits.py:noise=asymmetric_mnist \
        --config.noise.rate=0.4 --workdir=runs/asymmetric
    python -m robust.main --mode=study --workdir=runs/study

Hardware: two CPU cores. Data: bundled, no download; 40 % of the 1,437 training labels
are wrong, the 360 held out ones are right. Measured top-1: see robust/README.md.
"""

from common import config as configs
from robust import recipes
from robust.config import default_config


def get_config(arg: str | None = None):
    """Arguments: the kind of `noise`, `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, noise="symmetric", smoke=False)
    config = default_config()
    config.data.source = "bundled"
    config.data.name = "digits"
    config.data.image_size = 8
    config.preprocess.normalization = "half"
    config.preprocess.eval_crop = "squash"
    config.augment.crop = "none"
    config.augment.flip = False  # a mirrored 2 is no digit
    config.noise.kind = args.noise
    config.noise.rate = 0.4

    config.model.hidden = 256
    config.model.dropout = 0.0

    config.reweighting.mode = "deferred"
    config.reweighting.eta = 0.05

    config.batch_size = 64
    config.eval_batch_size = 360
    config.total_epochs = 60.0
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 60.0
    config.log_every_steps = 20
    config.optimizer.name = "adam"
    config.schedule.peak = 1e-3
    if args.smoke:
        recipes.shrink(config)
    return config
