"""Which of my pictures have a wrong label? One folder per class, and a page of answers.

    python -m robust.main --mode=audit --data_dir=DIR --workdir=runs/audit
    python -m robust.main --config=configs/robust/folder.py:image_size=128 \
        --data_dir=DIR --workdir=runs/mine

Data: `DIR/<class>/*.jpg`, or `DIR/train/<class>` and `DIR/validation/<class>`; every
picture is trained on and audited, the evaluation split included. The result is
`noise_audit.html` in the workdir. Hardware: two CPU cores for some thousand small
pictures; a GPU for more. Expected metric: depends on the data; see robust/README.md for
what it found in digits with known mistakes.
"""

from common import config as configs
from robust import recipes
from robust.config import default_config


def get_config(arg: str | None = None):
    """Arguments: `image_size`, `model`, `smoke`; all values are our choice."""
    args = configs.parse_arg(arg, image_size=32, model="resnet20", smoke=False)
    config = default_config()
    config.data.source = "folder"
    config.data.image_size = args.image_size
    config.preprocess.eval_crop = "squash"
    config.augment.crop = "padded"
    config.noise.everything = True
    config.model.name = args.model

    # With 64, some hundred pictures are too few steps to learn anything from.
    config.batch_size = 16
    config.total_epochs = 30.0
    config.eval_every_epochs = 5.0
    config.checkpoint_every_epochs = 5.0
    config.log_every_steps = 20
    config.schedule.warmup_epochs = 2.0
    recipes.reweight(config)
    config.reweighting.warmup_epochs = 1.0  # before it the losses say nothing
    if args.smoke:
        recipes.shrink(config)
    return config
