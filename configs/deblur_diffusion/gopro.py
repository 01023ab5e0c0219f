"""Deblurring of GoPro by predict-and-refine diffusion (arXiv 2112.02475).

    python -m deblur_diffusion.main --config=configs/deblur_diffusion/gopro.py \
        --data_dir=GOPRO --workdir=runs/gopro
    python -m deblur_diffusion.main --mode=eval --workdir=runs/gopro --data_dir=HIDE

Hardware: 16 accelerators (an estimate). Data: the 2,103 training and 1,111 test pairs
of GoPro in its own layout; HIDE for the second line. The metrics are LPIPS, FID and
KID (give weights in `config.evaluation`), and PSNR: 31.66 published for single samples
of 500 steps, 33.23 for averages of samples of 10, 33.07 for `,loss=regression`. Not run
here.
"""

from common import config as configs
from deblur_diffusion.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: `variant`; `loss`, diffusion or regression; `smoke`."""
    args = configs.parse_arg(arg, variant="residual", loss="diffusion", smoke=False)
    config = default_config()
    config.model.variant = args.variant
    config.loss.name = args.loss
    config.data.source = "paired"
    config.data.eval_split = "test"
    config.data.num_workers = 8
    config.dtype = "bfloat16"
    config.batch_size = 256
    config.total_steps = 1_000_000
    config.eval_every_steps = 50_000
    config.checkpoint_every_steps = 5_000
    config.log_every_steps = 100
    if args.smoke:
        shrink(config)
    return config
