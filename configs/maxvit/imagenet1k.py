"""MaxViT on ImageNet-1k at 224 pixels, the paper's recipe (table 12, first column).

    python -m maxvit.main --config=configs/maxvit/imagenet1k.py:T \
        --data_dir=$TFDS_DATA_DIR --workdir=DIR

Data: tensorflow-datasets `imagenet2012`, prepared as array_record; the paper trains
on all of `train` and reports on `validation`. Hardware: batch 4096 in bfloat16 wants
some 32 TPU v3 cores or 32 GPUs; on fewer, raise config.grad_accumulation. Published
top-1: T 83.62, S 84.45, B 84.95, L 85.17. Ours: not run.
"""

from common import config as configs
from maxvit import recipes


def get_config(arg: str | None = None):
    """Arguments: the variant (T, S, B, L) and `smoke`."""
    args = configs.parse_arg(arg, variant="T", smoke=False)
    return recipes.finish(recipes.imagenet1k(args.variant), args.smoke)
