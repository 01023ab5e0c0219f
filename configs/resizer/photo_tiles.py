"""Which photograph a tile is from, at a quarter of its size: the demo, no download.

    python -m resizer.main --config=configs/resizer/photo_tiles.py:phase=0 \
        --workdir=runs/small
    python -m resizer.main --config=configs/resizer/photo_tiles.py \
        --init_from=runs/small --workdir=runs/resized
    python -m resizer.main --mode=study --workdir=runs/study

Hardware: two CPU cores. Data: bundled; 48-pixel tiles of ten photographs, with equal
mean colours, so that texture tells them apart, and downscaling to 12 pixels takes most
of it away. None of the 238 held-out tiles shares a pixel with training. Measured top-1:
see resizer/README.md.
"""

from common import config as configs
from resizer import phases
from resizer.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: the `phase`, `resizer`, `backbone`, `smoke`."""
    args = configs.parse_arg(
        arg, phase=1, resizer="learned", backbone="resnet20", smoke=False
    )
    config = default_config()
    config.data.source = "bundled"
    config.data.name = "photo_tiles"
    config.data.image_size = 48
    config.preprocess.normalization = "half"
    config.augment.crop = "none"
    config.model.backbone = args.backbone
    config.model.output_size = 12
    config.batch_size = 32
    config.eval_batch_size = 60
    config.eval_every_epochs = 10.0
    config.log_every_steps = 20
    config.phases.pretrain_epochs = 40.0
    config.phases.tune_epochs = 40.0
    # The paper's; at 0.05 the learned image swung to 13 times the range of its input.
    config.phases.tune_rate = 0.005
    config.phases.cross_epochs = 10.0
    config.schedule.name = "cosine"
    phases.choose(config, args.resizer if args.phase else "bilinear")
    phases.apply(config, args.phase)
    if args.smoke:
        shrink(config)
    return config
