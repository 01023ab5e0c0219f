"""Any degradation, made of your own clean photographs as they are read.

    python -m maxim.main --config=configs/maxim/synthetic.py:motion_blur \
        --data_dir=DIR --workdir=RUN

Hardware: 8 accelerators (an estimate), or one GPU with `,one_gpu`. Data: every image
below DIR/train and DIR/validation, or below DIR, of which a tenth is held out. The
degradations and their parameters are in common/data/degradations; in a copy of this
file set `config.degradation.parameters`. The metric is PSNR in RGB; nothing is
published, not run here.
"""

from common import config as configs
from maxim import recipes
from maxim.config import default_config


def get_config(arg: str | None = None):
    """Arguments: a degradation; `variant`; `one_gpu`; `smoke`."""
    args = configs.parse_arg(
        arg, degradation="gaussian_noise", variant="S-2", one_gpu=False, smoke=False
    )
    config = default_config()
    config.model.variant = args.variant
    config.data.source = "images"
    config.data.num_workers = 8
    config.degradation.name = args.degradation
    recipes.train(config)
    return recipes.finish(config, args)
