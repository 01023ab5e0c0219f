"""Super-resolution of satellite images, on products made of aerial images.

    python -m enhancement.main --config=configs/enhancement/satellite.py:satsr \
        --data_dir=DIR --workdir=runs/full
    python -m enhancement.main --mode=predict --workdir=runs/full --tile=512 \
        --input=SCENE.tif --output=LARGE

Hardware: one GPU (an estimate). Data: aerial images below DIR/train and DIR/validation
with a pixel of 1 / `scale` of the product's, as 0.15 m for products of 0.3 m; RGB, 8
bits, free of clouds. They are degraded as they are read (arXiv 2002.11248; numbers are
ours). The metric is PSNR in RGB; the paper's tables could not be read, not run here.
"""

from common import config as configs
from enhancement.config import satellite_config, set_network, shrink


def get_config(arg: str | None = None):
    """Arguments: the `network`; `preset` of training; `scale`; `smoke`."""
    args = configs.parse_arg(arg, network="satsr", preset="full", scale=2, smoke=False)
    config = satellite_config()
    set_network(config, args.network)
    config.degradation.name = args.preset
    config.degradation.parameters.factor = args.scale
    if args.preset == "ideal_bicubic":
        config.degradation.parameters.mix = 0.0
    config.evaluation.border = args.scale
    config.data.source = "images"
    config.data.num_workers = 8
    config.data.image_size = 96 * args.scale
    config.batch_size = 16
    config.ema_decay = 0.999
    config.total_steps = 400_000
    config.eval_every_steps = 20_000
    config.checkpoint_every_steps = 5_000
    config.log_every_steps = 100
    config.schedule.peak = 1e-4
    config.schedule.final = 1e-6
    if args.smoke:
        shrink(config)
    return config
