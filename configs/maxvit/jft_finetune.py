"""A MaxViT pre-trained with jft.py, fine-tuned on ImageNet-1k (table 12, last column).

    python -m maxvit.main --config=configs/maxvit/jft_finetune.py:B \
        --data_dir=$TFDS_DATA_DIR --workdir=DIR --init_from=RUN

RUN is the directory of a run of jft.py, or the file of its weights; its classifier is
dropped. The paper's weights of JFT-300M were not released. `:B,image_size=512` takes
another size than 384. Data: tensorflow-datasets `imagenet2012`, prepared as
array_record. Hardware: batch 512 in bfloat16 wants some 32 GPUs or TPU v3 cores, for
XL at 512 pixels several times as many; on fewer, raise config.grad_accumulation.
Published top-1 at 384 / 512 pixels, after JFT-300M: B 88.69 / 88.82, L 89.12 / 89.41,
XL 89.36 / 89.53. Ours: not run.
"""

from common import config as configs
from maxvit import recipes


def get_config(arg: str | None = None):
    """Arguments: the variant (B, L, XL), `image_size`, `smoke`."""
    args = configs.parse_arg(arg, variant="B", image_size=384, smoke=False)
    config = recipes.finetuning(
        "jft_finetune", args.variant, args.image_size, normalization="half"
    )
    return recipes.finish(config, args.smoke)
