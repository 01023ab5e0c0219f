"""A small MAXIM that takes noise of sigma 25 out of photographs: the demo.

    python -m maxim.main --config=configs/maxim/photos.py --workdir=runs/photos

Hardware: two CPU cores, 12 minutes. Data: the photographs that scikit-image and
scikit-learn bundle, no download; three of them are held out. The metric is their mean
PSNR: 29.98 dB, where non-local means that is told the noise reaches 29.16 dB.
"""

from common import config as configs
from maxim.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, smoke=False)
    config = default_config()
    config.data.source = "bundled"
    config.data.name = "photos"
    config.data.image_size = 64
    config.degradation.name = "gaussian_noise"
    config.degradation.parameters.sigma = 25.0
    config.evaluation.baseline = "nl_means"
    config.augment.mixup_probability = 0.0

    config.model.variant = "S-1"
    config.model.num_supervision_scales = 1
    config.model.num_groups = 1
    config.model.num_bottleneck_blocks = 1
    config.model.block_size_hr = 8
    config.model.grid_size_hr = 8
    config.model.block_size_lr = 4
    config.loss.frequency_weight = 0.0

    # Steps count for more than crops here. The first gradients are some forty times as
    # long as later ones.
    config.batch_size = 2
    config.total_steps = 3000
    config.eval_every_steps = 1500
    config.log_every_steps = 50
    config.ema_decay = 0.999
    config.optimizer.clip_norm = 0.1
    config.schedule.peak = 1e-3
    config.schedule.final = 1e-6
    config.schedule.warmup_steps = 200

    if args.smoke:
        shrink(config)
        config.model.depth = config.model.num_supervision_scales = 1
    return config
