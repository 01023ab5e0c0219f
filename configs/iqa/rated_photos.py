"""NIMA on photographs that were degraded by known amounts: minutes, no download.

    python -m iqa.main --config=configs/iqa/rated_photos.py --workdir=runs/rated

Hardware: two CPU cores. Data: tiles of 13 photographs in the box for training, three
others for evaluation, each in 21 versions; the votes are simulated, see
iqa/rated_photos.py. Measured metric (srcc): see iqa/README.md.
"""

from common import config as configs
from iqa.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: the `backbone`, `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, backbone="cnniqa", smoke=False)
    config = default_config()
    config.data.source = "rated_photos"
    config.data.image_size = 64
    # Resizing would hide what is to be seen.
    config.preprocess.normalization = "half"
    config.preprocess.eval_crop = "native"
    config.preprocess.eval_size = 256
    config.augment.resize = 0
    config.model.backbone = args.backbone
    config.model.dropout = 0.0
    if args.backbone == "cnniqa":
        config.model.options.hidden = 512
        config.model.options.dropout = 0.0
        config.model.options.flat = 0.015

    config.batch_size = 32
    config.eval_batch_size = 32
    config.total_epochs = 12.0
    config.eval_every_epochs = 2.0
    config.checkpoint_every_epochs = 4.0
    config.log_every_steps = 50
    config.optimizer.name = "adam"
    config.schedule.peak = 2e-3
    if args.smoke:
        shrink(config)
        config.preprocess.eval_size = 64
    return config
