"""Denoising of smartphone photographs: MAXIM-3S on SIDD (arXiv 2201.02973).

    python -m maxim.main --config=configs/maxim/denoise.py:SIDD --data_dir=DIR \
        --workdir=RUN

Hardware: 16 accelerators (an estimate), or one GPU with `,one_gpu`. Data: SIDD-Medium
(320 pairs, cut to tiles first by `python -m common.data.tiles`) and the validation
blocks, see common/data/sources/layouts.py. The metric is PSNR in RGB on the 1,280
blocks: 39.96 published, not run here.
"""

from common import config as configs
from maxim import recipes


def get_config(arg: str | None = None):
    """Arguments: the data set; `one_gpu`; `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, dataset="SIDD", one_gpu=False, smoke=False)
    name = recipes.choose("data set", args.dataset, {"SIDD": "Denoising/SIDD"})
    return recipes.finish(recipes.recipe(name, "train", "validation"), args)
