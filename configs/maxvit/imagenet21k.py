"""MaxViT pre-trained on ImageNet-21k at 224 pixels (table 12, third column).

    python -m maxvit.main --config=configs/maxvit/imagenet21k.py:B \
        --data_dir=DIR --workdir=RUN

Data: `DIR/train/<class>/*.jpg` and `DIR/validation/<class>/*.jpg`, or
`DIR/<class>/*.jpg`, of which a tenth is then held out. TFDS has no ImageNet-21k; for
one that your own builder prepared add `--config.data.source=tfds
--config.data.name=NAME` and, where it has no validation split,
`--config.data.train_split="train[51200:]" --config.data.eval_split="train[:51200]"`.
The released weights have 21,843 classes; a set with fewer leaves the last outputs
untrained. Hardware: batch 4096 in bfloat16 wants 32 GPUs or TPU v3 cores and more for
XL; on fewer, raise config.grad_accumulation. Published metric: none for this stage,
see imagenet21k_finetune.py for what follows it. Ours: not run.
"""

from common import config as configs
from maxvit import recipes


def get_config(arg: str | None = None):
    """Arguments: the variant (B, L, XL) and `smoke`."""
    args = configs.parse_arg(arg, variant="B", smoke=False)
    config = recipes.large_scale("imagenet21k", args.variant)
    config.data.num_classes = 21_843
    config.loss.label_smoothing = 1e-4
    config.total_epochs = 90.0
    config.schedule.warmup_epochs = 5.0
    return recipes.finish(config, args.smoke)
