"""MaxViT of ImageNet-21k fine-tuned on ImageNet-1k (table 12, fourth column).

    python -m maxvit.main --config=configs/maxvit/imagenet21k_finetune.py:B \
        --data_dir=$TFDS_DATA_DIR --workdir=DIR --init_from=RUN

RUN is the directory of a run of imagenet21k.py, the file of its weights, or published
ones such as timm:maxvit_base_tf_224.in21k; their classifier is dropped.
`:B,image_size=512` takes another size than 384.
Data: tensorflow-datasets `imagenet2012`, prepared as array_record. Hardware: batch 512
in bfloat16 wants some 32 GPUs or TPU v3 cores, for XL at 512 pixels several times as
many; on fewer, raise config.grad_accumulation. Published top-1 at 384 / 512 pixels:
B 88.24 / 88.38, L 88.32 / 88.46, XL 88.51 / 88.70. Ours: not run.
"""

from common import config as configs
from maxvit import recipes


def get_config(arg: str | None = None):
    """Arguments: the variant (B, L, XL), `image_size`, `smoke`."""
    args = configs.parse_arg(arg, variant="B", image_size=384, smoke=False)
    config = recipes.finetuning(
        "imagenet21k_finetune", args.variant, args.image_size, normalization="half"
    )
    return recipes.finish(config, args.smoke)
