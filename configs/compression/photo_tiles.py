"""Tables that keep a small classifier right: the rate-accuracy demo without download.

    python -m maxvit.main --config=configs/maxvit/photo_tiles.py --workdir=runs/tiles
    python -m compression.main --config=configs/compression/photo_tiles.py \
        --init_from=runs/tiles --workdir=runs/tiles_tables

Hardware: two CPU cores. Data: tiles of bundled photographs; tables are learned on
those the classifier was trained with, and judged on the others. The metric is the mean
gain in top-1 over Annex K at equal bytes: 0.042, 0.108 and 0.060 for seeds 0, 1 and 2
of both runs.
"""

from common import config as configs
from compression.config import default_config, shrink, use_classifier
from configs.maxvit import photo_tiles


def get_config(arg: str | None = None):
    """Arguments: `smoke` for a run of seconds, on made-up images."""
    args = configs.parse_arg(arg, smoke=False)
    config = default_config()
    use_classifier(
        config, "maxvit", photo_tiles.get_config("smoke" if args.smoke else None)
    )
    # A cross entropy of 1 weighs as much as a squared error of 1,000. Without any,
    # nothing is learned where the classifier is right, as on its own training tiles.
    config.loss.distortion = 0.001
    # Theory's steps for these are 8 to 125.
    config.model.rate_weights = (
        *(0.0075, 0.015, 0.03, 0.06, 0.12),
        *(0.22, 0.45, 0.9, 1.8),
    )
    config.evaluation.qualities = (5, 10, 15, 20, 30, 40, 50)
    config.evaluation.flat_steps = (16, 24, 32, 48, 64, 96, 128, 192)
    config.batch_size = 45
    config.total_steps = 1500
    config.schedule.peak = 0.03
    config.optimizer.clip_norm = 1.0
    config.ema_decay = 0.98
    if args.smoke:
        size = config.data.image_size
        shrink(config)
        config.data.image_size = size
        config.data.source = "fake"
        config.model.rate_weights = (0.1, 1.0)
    return config
