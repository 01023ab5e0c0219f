"""Super-resolution: a pixel loss, then a loss of features (arXiv 2012.09289).

    python -m enhancement.main --config=configs/enhancement/superresolution.py \
        --data_dir=DIR --workdir=runs/l1
    python -m enhancement.main --init_from=runs/l1 --workdir=runs/pdl --data_dir=DIR \
        --config=configs/enhancement/superresolution.py:loss=pdl,weights=vgg19.safetensors

Hardware: one GPU (an estimate). Data: every image below DIR/train and DIR/validation,
as the 800 and 100 of DIV2K, degraded as they are read by MATLAB's bicubic
downscaling by `factor`.
Usual test sets: Set14, BSD100, Urban100 and DIV2K's validation
images. The metric is PSNR in RGB; the paper's
tables could not be read, not run here.
"""

from common import config as configs
from enhancement import recipes


def get_config(arg: str | None = None):
    """Arguments: the `factor`; `loss` and `weights` of the second phase; `smoke`."""
    args = configs.parse_arg(arg, factor=4, loss="none", weights="", smoke=False)
    config = recipes.recipe("superresolution", factor=args.factor)
    return recipes.finish(config, args)
