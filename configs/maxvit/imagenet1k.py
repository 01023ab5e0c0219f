"""MaxViT on ImageNet-1k at 224 pixels, the paper's recipe (table 12, first column).

    python -m maxvit.main --config=configs/maxvit/imagenet1k.py:T \
        --data_dir=$TFDS_DATA_DIR --workdir=DIR

Data: tensorflow-datasets `imagenet2012`, prepared as array_record; the paper trains
on all of `train` and reports on `validation`. Hardware: batch 4096 in bfloat16 wants
some 32 TPU v3 cores or 32 GPUs; on fewer, raise config.grad_accumulation. Published
top-1: T 83.62, S 84.45, B 84.95, L 85.17. Ours: not run.
"""

from common import config as configs
from common.errors import ConfigError
from maxvit.config import default_config, shrink_model

# Table 12: stochastic depth per variant.
DROP_PATH = {"T": 0.2, "S": 0.3, "B": 0.4, "L": 0.6}


def get_config(arg: str | None = None):
    """Arguments: the variant (T, S, B, L) and `smoke`."""
    args = configs.parse_arg(arg, variant="T", smoke=False)
    if args.variant not in DROP_PATH:
        raise ConfigError(configs.unknown("variant", args.variant, DROP_PATH))
    config = default_config()
    config.data.source = "tfds"
    config.data.name = "imagenet2012:5.1.0"
    config.data.num_classes = 1000
    config.data.num_workers = 16
    config.augment.randaugment_layers = 2
    config.augment.randaugment_magnitude = 15.0
    config.augment.mixup_alpha = 0.8
    config.loss.label_smoothing = 0.1

    config.model.variant = args.variant
    config.model.drop_path_rate = DROP_PATH[args.variant]

    config.dtype = "bfloat16"
    config.batch_size = 4096
    config.eval_batch_size = 1024
    config.total_epochs = 300.0
    config.eval_every_epochs = 5.0
    config.checkpoint_every_epochs = 1.0
    config.optimizer.weight_decay = 0.05
    # The official code spares names with bias, scale, gain, gamma or beta; ours has
    # the first two, the relative_bias tables among them.
    config.optimizer.no_decay = ("bias", "scale")
    config.optimizer.clip_norm = 1.0
    config.schedule.peak = 3e-3
    config.schedule.final = 1e-5
    config.schedule.warmup_steps = 10_000
    if args.smoke:
        configs.shrink(config)
        shrink_model(config)
    return config
