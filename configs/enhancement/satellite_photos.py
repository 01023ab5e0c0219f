"""Does it matter how training pairs are made? The demo, minutes, no download.

    python -m enhancement.main --config=configs/enhancement/satellite_photos.py \
        --workdir=runs/full
    python -m enhancement.main --mode=matrix --workdir=runs/matrix

Hardware: two CPU cores. Data: the photographs that scikit-image and scikit-learn
bundle stand for aerial images; three are held out. The network is small. Measured
metrics: see enhancement/README.md.
"""

from common import config as configs
from enhancement.config import satellite_config, set_network, shrink


def get_config(arg: str | None = None):
    """Arguments: the `network`; `preset` of training; `scale`; `smoke`."""
    args = configs.parse_arg(arg, network="satsr", preset="full", scale=2, smoke=False)
    config = satellite_config()
    set_network(config, args.network, features=32, num_blocks=6, num_groups=2)
    config.degradation.name = args.preset
    config.degradation.parameters.factor = args.scale
    config.degradation.parameters.mix = 0.0
    config.evaluation.border = args.scale
    config.data.source = "bundled"
    config.data.name = "photos"
    config.data.image_size = 32 * args.scale
    config.batch_size = 8
    config.ema_decay = 0.99
    config.total_steps = 2000
    config.eval_every_steps = config.checkpoint_every_steps = 1000
    config.log_every_steps = 50
    config.schedule.peak = 1e-3
    config.schedule.final = 1e-6
    config.schedule.warmup_steps = 100
    if args.smoke:
        shrink(config)
    return config
