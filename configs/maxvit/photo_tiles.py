"""A small MaxViT that tells which photograph a tile is from: a judge of codecs.

    python -m maxvit.main --config=configs/maxvit/photo_tiles.py --workdir=runs/tiles

Hardware: two CPU cores. Data: bundled, no download. In training it sees no JPEG, so its
accuracy on compressed tiles says what compression takes away. Measured top-1 on the 238
held out tiles: 0.9622, 0.9706 and 0.9580 for seeds 0, 1 and 2; from libjpeg's files of
quality 10, without subsampling, 0.756, 0.706 and 0.651.
"""

from common import config as configs
from maxvit.config import default_config


def get_config(arg: str | None = None):
    """Arguments: `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, smoke=False)
    config = default_config()
    config.data.source = "bundled"
    config.data.name = "photo_tiles"
    config.data.image_size = 48
    config.preprocess.normalization = "half"
    config.preprocess.eval_crop = "squash"
    config.augment.crop = "none"

    config.model.variant = "testing"
    config.model.stem_width = 16
    config.model.depths = (1, 1)
    config.model.channels = (32, 64)
    config.model.head_dim = 32
    config.model.window_size = 6
    config.model.drop_path_rate = 0.1

    config.batch_size = 32
    config.eval_batch_size = 60
    config.total_steps = 1000  # 32 epochs
    config.eval_every_steps = 250
    config.log_every_steps = 20
    config.loss.label_smoothing = 0.1
    config.ema_decay = 0.99
    config.optimizer.weight_decay = 0.05
    config.optimizer.no_decay = ("bias", "scale")
    config.optimizer.clip_norm = 1.0
    config.schedule.peak = 3e-3
    config.schedule.final = 1e-5
    config.schedule.warmup_steps = 60

    if args.smoke:
        configs.shrink(config)
    return config
