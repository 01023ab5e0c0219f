"""Deblurring of GoPro, with a pixel loss and then with a loss of features.

    python -m enhancement.main --config=configs/enhancement/deblur.py \
        --data_dir=GOPRO --workdir=runs/l1
    python -m enhancement.main --init_from=runs/l1 --workdir=runs/pdl --data_dir=GOPRO \
        --config=configs/enhancement/deblur.py:loss=pdl,weights=vgg19.safetensors

One of the five tasks of arXiv 2012.09289. Hardware: one GPU (an estimate). Data: the
2,103 training and 1,111 test pairs of GoPro, in its own layout. The metric is PSNR in
RGB; the paper's tables could not be read, not run here.
"""

from common import config as configs
from enhancement import recipes


def get_config(arg: str | None = None):
    """Arguments: `loss` and `weights` of the second phase; `smoke`."""
    args = configs.parse_arg(arg, loss="none", weights="", smoke=False)
    config = recipes.recipe("deblur")
    config.data.eval_split = "test"
    return recipes.finish(config, args)
