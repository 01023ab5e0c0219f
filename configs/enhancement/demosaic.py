"""Demosaicing: a pixel loss, then a loss of features (arXiv 2012.09289).

    python -m enhancement.main --config=configs/enhancement/demosaic.py \
        --data_dir=DIR --workdir=runs/l1
    python -m enhancement.main --init_from=runs/l1 --workdir=runs/pdl --data_dir=DIR \
        --config=configs/enhancement/demosaic.py:loss=pdl,weights=vgg19.safetensors

Hardware: one GPU (an estimate). Data: every image below DIR/train and DIR/validation,
as the 800 and 100 of DIV2K, degraded as they are read by an RGGB mosaic, with noise
of `sigma` in 255 levels.
Usual test sets: Kodak24 and McMaster. The metric is PSNR in RGB; the paper's
tables could not be read, not run here.
"""

from common import config as configs
from enhancement import recipes


def get_config(arg: str | None = None):
    """Arguments: the `sigma`; `loss` and `weights` of the second phase; `smoke`."""
    args = configs.parse_arg(arg, sigma=0.0, loss="none", weights="", smoke=False)
    config = recipes.recipe("demosaic", sigma=args.sigma)
    return recipes.finish(config, args)
