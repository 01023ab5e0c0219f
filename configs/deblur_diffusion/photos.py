"""A small predict-and-refine diffusion for photographs in the box: the demo.

    python -m deblur_diffusion.main --config=configs/deblur_diffusion/photos.py \
        --workdir=runs/deblur
    python -m deblur_diffusion.main --mode=grid --workdir=runs/deblur \
        --grid_steps=10,50,200 --grid_beta_max=0.05,0.5

Hardware: two CPU cores. Data: the photographs that scikit-image and scikit-learn
bundle, shaken; three are held out. The metric is PSNR; not run yet.
"""

from common import config as configs
from deblur_diffusion.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: `loss`, diffusion or regression; `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, loss="diffusion", smoke=False)
    config = default_config()
    config.loss.name = args.loss
    config.data.source = "bundled"
    config.data.name = "photos"
    config.data.image_size = 64
    config.degradation.name = "camera_shake"
    config.degradation.parameters.length = (5.0, 20.0)
    config.evaluation.crop = 256
    config.evaluation.lpips = "random"
    config.model.options.predictor_features = 24
    config.model.options.denoiser_features = 16
    config.model.options.num_blocks = 1
    config.model.options.dropout = 0.0
    config.batch_size = 8
    config.ema_decay = 0.999
    config.total_steps = 4000
    config.eval_every_steps = config.checkpoint_every_steps = 2000
    config.log_every_steps = 50
    config.schedule.peak = 5e-4
    config.schedule.warmup_steps = 200
    if args.smoke:
        shrink(config)
    return config
