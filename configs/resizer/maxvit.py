"""MaxViT behind a learned resizer: more pixels than its 224, at its cost.

    python -m resizer.main --config=configs/resizer/maxvit.py:tiny \
        --init_from=timm:maxvit_tiny_tf_224.in1k --data_dir=$TFDS_DATA_DIR \
        --workdir=runs/maxvit
    python -m resizer.main --config=configs/resizer/maxvit.py:tiny,resizer=bilinear ...

Not in the paper; the second command is the control. Data: tensorflow-datasets
`imagenet2012`. Hardware: a GPU or TPU. Expected metric: MaxViT-T has 83.62 % top-1 at
224 pixels; behind the resizer not run.
"""

from common import config as configs
from resizer import phases
from resizer.config import imagenet, shrink


def get_config(arg: str | None = None):
    """Arguments: the `variant`, `input_size`, `resizer`, `smoke`.

    The recipe is ours: MaxViT's own for fine-tuning, small constant rate and next to no
    decay, with a resizer that begins as the bilinear one and learns ten times faster.
    """
    args = configs.parse_arg(
        arg, variant="tiny", input_size=448, resizer="zero_init", smoke=False
    )
    config = imagenet(args.input_size)
    config.batch_size = 256
    config.model.backbone = f"maxvit_{args.variant}"
    config.phases.tune_epochs = 10.0
    config.phases.tune_rate = 5e-5
    config.phases.resizer_factor = 10.0
    config.optimizer.name = "adamw"
    config.optimizer.weight_decay = 1e-8
    config.optimizer.clip_norm = 1.0
    config.schedule.name = "constant"
    phases.choose(config, args.resizer)
    phases.apply(config, 1)
    if args.smoke:
        shrink(config)
    return config
