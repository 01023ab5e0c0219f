"""JPEG artefacts: a pixel loss, then a loss of features (arXiv 2012.09289).

    python -m enhancement.main --config=configs/enhancement/jpeg.py \
        --data_dir=DIR --workdir=runs/l1
    python -m enhancement.main --init_from=runs/l1 --workdir=runs/pdl --data_dir=DIR \
        --config=configs/enhancement/jpeg.py:loss=pdl,weights=vgg19.safetensors

Hardware: one GPU (an estimate). Data: every image below DIR/train and DIR/validation,
as the 800 and 100 of DIV2K, degraded as they are read by libjpeg at `quality`,
4:2:0.
Usual test sets: LIVE1 and Kodak24. The metric is PSNR in RGB; the paper's
tables could not be read, not run here.
"""

from common import config as configs
from enhancement import recipes


def get_config(arg: str | None = None):
    """Arguments: the `quality`; `loss` and `weights` of the second phase; `smoke`."""
    args = configs.parse_arg(arg, quality=10, loss="none", weights="", smoke=False)
    config = recipes.recipe("jpeg", quality=args.quality)
    return recipes.finish(config, args)
