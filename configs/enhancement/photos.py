"""The five tasks on photographs in the box: the demo, minutes, no download.

    python -m enhancement.main --config=configs/enhancement/photos.py --workdir=runs/l1
    python -m enhancement.main --init_from=runs/l1 --workdir=runs/pdl \
        --config=configs/enhancement/photos.py:loss=pdl
    python -m enhancement.main --mode=study --workdir=runs/study

Hardware: two CPU cores. Data: the photographs that scikit-image and scikit-learn
bundle, of which three are held out. No weights are at hand without a download, so the
network that the loss looks through learned nothing, and so did that of the distance
that is measured; they are two different ones. Measured metrics: see
enhancement/README.md.
"""

from common import config as configs
from enhancement import recipes
from enhancement.config import set_network


def get_config(arg: str | None = None):
    """Arguments: the task, a key of `recipes.RECIPES`; `loss`, `weights`; `smoke`."""
    args = configs.parse_arg(
        arg, task="superresolution", loss="none", weights="random", smoke=False
    )
    if args.task == "deblur":  # stored pairs, of which there are none in the box
        config = recipes.recipe("deblur")
        config.degradation.name = "camera_shake"
    else:
        config = recipes.recipe(args.task)
    config.data.source = "bundled"
    config.data.name = "photos"
    config.data.num_workers = 0
    config.data.image_size = 64
    blocks = None if config.model.name == "deblur_unet" else 8
    set_network(config, config.model.name, features=32, num_blocks=blocks)
    config.evaluation.lpips = "random"
    config.batch_size = 8
    config.ema_decay = 0.99
    # Behind these, what a network sees that learned nothing is mostly alike.
    config.loss.layers = "shallow"
    config.total_steps = 2000
    config.eval_every_steps = config.checkpoint_every_steps = 1000
    config.log_every_steps = 50
    config.schedule.name = "cosine"
    config.schedule.peak = 1e-3
    config.schedule.warmup_steps = 100
    return recipes.finish(config, args)
