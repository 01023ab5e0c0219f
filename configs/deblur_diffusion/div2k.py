"""Deblurring of your own sharp photographs, blurred as they are read.

    python -m deblur_diffusion.main --config=configs/deblur_diffusion/div2k.py \
        --data_dir=DIV2K --workdir=runs/div2k

The data of the analyses of arXiv 2112.02475, whose blur and noise are not known: ours
is the shaking of a camera. Hardware: 16 accelerators (an estimate). Data: every image
below DIR/train and DIR/validation. `variant=plain` is the diffusion without predictor
that the paper compares with. The metric is PSNR; nothing is published, not run here.
"""

from common import config as configs
from configs.deblur_diffusion import gopro
from deblur_diffusion.config import shrink


def get_config(arg: str | None = None):
    """Arguments: `variant`; `loss`, diffusion or regression; `smoke`."""
    args = configs.parse_arg(arg, variant="residual", loss="diffusion", smoke=False)
    config = gopro.get_config(f"{args.variant},loss={args.loss}")
    config.data.source = "images"
    config.data.eval_split = "validation"
    config.degradation.name = "camera_shake"
    if args.smoke:
        shrink(config)
    return config
