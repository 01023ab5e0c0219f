"""MaxViT of ImageNet-1k fine-tuned to larger images (table 12, second column).

    python -m maxvit.main --config=configs/maxvit/imagenet1k_finetune.py:T \
        --data_dir=$TFDS_DATA_DIR --workdir=DIR --init_from=RUN

RUN is the directory of a run of imagenet1k.py, the file of its weights, or published
ones such as timm:maxvit_tiny_tf_224.in1k; their classifier is dropped.
`:T,image_size=512` takes another size than 384.
Data: tensorflow-datasets `imagenet2012`, prepared as array_record. Hardware: batch 512
in bfloat16 wants some 16 GPUs or TPU v3 cores, at 512 pixels more; on fewer, raise
config.grad_accumulation. Published top-1 at 384 / 512 pixels: T 85.24 / 85.72,
S 85.74 / 86.19, B 86.34 / 86.66, L 86.40 / 86.70. Ours: not run.
"""

from common import config as configs
from maxvit import recipes


def get_config(arg: str | None = None):
    """Arguments: the variant (T, S, B, L), `image_size`, `smoke`."""
    args = configs.parse_arg(arg, variant="T", image_size=384, smoke=False)
    config = recipes.finetuning(
        "imagenet1k_finetune", args.variant, args.image_size, normalization="imagenet"
    )
    config.augment.mixup_alpha = 0.8
    return recipes.finish(config, args.smoke)
