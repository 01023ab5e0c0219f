"""MaxViT on your own pictures: one folder per class, trained or fine-tuned.

    python -m maxvit.main --config=configs/maxvit/folder.py:T \
        --data_dir=DIR --workdir=runs/mine
    python -m maxvit.main --config=configs/maxvit/folder.py:T,finetune \
        --data_dir=DIR --workdir=runs/mine --init_from=WEIGHTS.safetensors

Data: `DIR/train/<class>/*.jpg` and `DIR/validation/<class>/*.jpg`, or only
`DIR/<class>/*.jpg`, of which a tenth is then held out. The number of classes is read
from the data. Hardware: MaxViT-T at 224 wants a GPU or TPU. Expected metric: depends
on the data; not run.
"""

import ml_collections

from common import config as configs
from maxvit import recipes
from maxvit.config import default_config


def get_config(arg: str | None = None):
    """Arguments: the variant, `image_size`, `finetune`, `smoke`.

    `finetune` takes the paper's fine-tuning column for ImageNet-1k (table 12) but for
    its batch of 512: a constant small rate, next to no decay, an EMA of 0.9999,
    RandAugment 2, 15, mixup 0.8, the variant's stochastic depth, and a new classifier.
    The recipe from scratch is our choice.
    """
    args = configs.parse_arg(
        arg, variant="T", image_size=224, finetune=False, smoke=False
    )
    config = default_config()
    config.data.source = "folder"
    config.data.num_workers = 4
    config.model.variant = args.variant
    recipes.set_size(config, args.image_size, normalization="imagenet")
    if args.finetune:
        recipes.finetune(config)
        config.augment.mixup_alpha = 0.8
    else:
        _from_scratch(config)
    config.batch_size = 64
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 1.0
    return recipes.finish(config, args.smoke)


def _from_scratch(config: ml_collections.ConfigDict) -> None:
    recipes.adamw(config)
    config.augment.randaugment_layers = 2
    config.augment.randaugment_magnitude = 9.0
    config.augment.mixup_alpha = 0.2
    config.loss.label_smoothing = 0.1
    config.model.drop_path_rate = 0.1
    config.total_epochs = 100.0
    config.optimizer.weight_decay = 0.05
    config.schedule.peak = 5e-4
    config.schedule.final = 1e-6
    config.schedule.warmup_epochs = 5.0
