"""CIFAR-10 and CIFAR-100 with made or with people's wrong labels, and a ResNet.

    python -m robust.main --config=configs/robust/cifar.py:cifar10 --workdir=runs/c10
    python -m robust.main --config=configs/robust/cifar.py:cifar100 --workdir=runs/c100
    python -m robust.main --config=configs/robust/cifar.py:cifar10,noise=human \
        --workdir=runs/c10n
    python -m robust.main --config=configs/robust/cifar.py:cifar100,noise=human \
        --workdir=runs/c100n

Data: TFDS `cifar10`, `cifar100`, and with people's labels `cifar10_n`, `cifar100_n`
(CIFAR-N, arXiv 2110.12088), prepared as ArrayRecord (the error message says how).
Hardware: one GPU. Expected metric: not run.
"""

from common import config as configs
from common.config import unknown
from common.errors import ConfigError
from robust import recipes
from robust.config import default_config

# People's labels of CIFAR-N: the set of TFDS, and the feature with the worst of them.
_HUMAN = {
    "cifar10": ("cifar10_n", "worse_label"),
    "cifar100": ("cifar100_n", "noise_label"),
}


def get_config(arg: str | None = None):
    """Arguments: the data, the kind of `noise`, `model`, `smoke`."""
    args = configs.parse_arg(
        arg, data="cifar10", noise="symmetric", model="resnet34", smoke=False
    )
    if args.data not in _HUMAN:
        raise ConfigError(unknown("data", args.data, _HUMAN))
    config = default_config()
    human = args.noise == "human"
    recipes.use_tfds(config, _HUMAN[args.data][0] if human else args.data, 32)
    config.preprocess.normalization = args.data
    config.noise.kind = args.noise
    if human:
        config.noise.label_field = _HUMAN[args.data][1]
    else:
        config.noise.rate = 0.4

    config.model.name = args.model
    config.model.stem = "cifar"
    recipes.cifar(config)
    recipes.reweight(config)
    if args.smoke:
        recipes.shrink(config)
    return config
