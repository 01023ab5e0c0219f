"""Quality of photographs at a quarter of their size: the demo, minutes, no download.

    python -m resizer.main --mode=study --resizers=zero_init --workdir=runs/study \
        --config=configs/resizer/rated_photos.py
    python -m resizer.main --workdir=runs/small \
        --config=configs/resizer/rated_photos.py:phase=0
    python -m resizer.main --workdir=runs/resized --init_from=runs/small \
        --config=configs/resizer/rated_photos.py

Hardware: two CPU cores. Data: bundled; crops of 96 pixels from photographs with blur,
noise, JPEG and enlarging, at five levels each, whose traces a resize to 24 pixels takes
away. The 13 photographs for training and the three for evaluation are different ones;
the votes are simulated (iqa/rated_photos.py). Measured metric (srcc): see
resizer/README.md.
"""

from common import config as configs
from configs.iqa import rated_photos
from resizer import phases
from resizer.config import put_behind


def get_config(arg: str | None = None):
    """Arguments: the `phase`, `resizer`, `backbone`, `smoke`."""
    args = configs.parse_arg(
        arg, phase=1, resizer="zero_init", backbone="resnet20", smoke=False
    )
    smoke = ",smoke" if args.smoke else ""
    config = rated_photos.get_config(f"{args.backbone}{smoke}")
    put_behind(config, 16 if args.smoke else 24)
    # Training's size in evaluation, too, since a resizer learns for one factor.
    config.preprocess.eval_size = None
    if not args.smoke:
        config.data.image_size = 96
        config.eval_batch_size = 63
        config.eval_every_epochs = 1.0
    config.phases.pretrain_epochs = 4.0
    config.phases.pretrain_rate = 2e-3
    config.phases.tune_epochs = 8.0
    config.phases.tune_rate = 2e-3
    # Adam moves all 784 weights behind a pixel by its rate: as fast as the network, the
    # learned image left the range of its input in ten steps, and nothing was learned.
    config.phases.resizer_factor = 0.05
    config.phases.cross_epochs = 1.0
    phases.choose(config, args.resizer if args.phase else "bilinear")
    phases.apply(config, args.phase)
    if args.smoke:
        phases.shrink(config)
    return config
