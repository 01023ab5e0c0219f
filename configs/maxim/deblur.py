"""Deblurring: MAXIM-3S on GoPro, RealBlur or REDS (arXiv 2201.02973).

    python -m maxim.main --config=configs/maxim/deblur.py:GoPro --data_dir=DIR \
        --workdir=RUN

Hardware: 16 accelerators (an estimate), or one GPU with `,one_gpu`. Data: GoPro,
RealBlur_R, RealBlur_J or REDS, the track with JPEG, best cut to tiles first by
`python -m common.data.tiles`. The metric is PSNR in RGB: 32.86 on GoPro, 39.45 and
32.84 on RealBlur-R and -J after an alignment that is not done here, 28.93 on REDS are
published; not run here.
"""

from common import config as configs
from maxim import recipes

# Data set -> folders to train on and to score.
SPLITS = {
    "GoPro": ("train", "test"),
    "RealBlur_R": ("RealBlur_R/train", "RealBlur_R/test"),
    "RealBlur_J": ("RealBlur_J/train", "RealBlur_J/test"),
    "REDS": ("train_blur_jpeg", "val_blur_jpeg"),
}


def get_config(arg: str | None = None):
    """Arguments: the data set; `one_gpu`; `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, dataset="GoPro", one_gpu=False, smoke=False)
    names = {name: f"Deblurring/{name}" for name in SPLITS}
    name = recipes.choose("data set", args.dataset, names)
    return recipes.finish(recipes.recipe(name, *SPLITS[args.dataset]), args)
