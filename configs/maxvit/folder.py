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

from common import config as configs
from maxvit.config import default_config, shrink_model


def get_config(arg: str | None = None):
    """Arguments: the variant, `image_size`, `finetune`, `smoke`.

    `finetune` takes the paper's fine-tuning column (table 12) but for its batch of
    512: a constant small rate, next to no decay, an EMA of 0.9999, RandAugment 2, 15,
    mixup 0.8, the variant's stochastic depth; and a new classifier where the weights'
    one has other classes. The recipe from scratch is our choice.
    """
    args = configs.parse_arg(
        arg, variant="T", image_size=224, finetune=False, smoke=False
    )
    config = default_config()
    config.data.source = "folder"
    config.data.image_size = args.image_size
    config.data.num_workers = 4
    config.augment.randaugment_layers = 2
    config.augment.randaugment_magnitude = 9.0
    config.augment.mixup_alpha = 0.2
    config.loss.label_smoothing = 0.1
    if args.image_size > 224:
        # As the released weights at 384 and 512 expect it.
        config.preprocess.normalization = "half"
        config.preprocess.eval_crop = "squash"

    config.model.variant = args.variant
    config.model.drop_path_rate = 0.1

    config.dtype = "bfloat16"
    config.batch_size = 64
    config.total_epochs = 100.0
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 1.0
    config.optimizer.weight_decay = 0.05
    config.optimizer.no_decay = ("bias", "scale")
    config.optimizer.clip_norm = 1.0
    config.schedule.peak = 5e-4
    config.schedule.final = 1e-6
    config.schedule.warmup_epochs = 5.0
    if args.finetune:
        config.augment.randaugment_magnitude = 15.0
        config.augment.mixup_alpha = 0.8
        config.model.drop_path_rate = None
        config.total_epochs = 30.0
        config.ema_decay = 0.9999
        config.optimizer.weight_decay = 1e-8
        config.schedule.name = "constant"
        config.schedule.peak = 5e-5
        config.schedule.warmup_epochs = 0.0
        config.reinitialize = ("^params/head/logits/",)
    if args.smoke:
        configs.shrink(config)
        shrink_model(config)
    return config
