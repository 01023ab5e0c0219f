"""Enhancement: MAXIM-2S on MIT-Adobe FiveK or LOL (arXiv 2201.02973).

    python -m maxim.main --config=configs/maxim/enhance.py:LOL --data_dir=DIR \
        --workdir=RUN

Hardware: 8 accelerators (an estimate), or one GPU with `,one_gpu`. Data: FiveK as 8-bit
pairs with expert C, 4,500 to train on and the last 500 to score; LOL, 485 and 15 pairs.
The metric is PSNR in RGB: 26.15 on FiveK and 23.43 on LOL published, not run here.
"""

from common import config as configs
from maxim import recipes


def get_config(arg: str | None = None):
    """Arguments: the data set, FiveK or LOL; `one_gpu`; `smoke`."""
    args = configs.parse_arg(arg, dataset="FiveK", one_gpu=False, smoke=False)
    names = {name: f"Enhancement/{name}" for name in ("FiveK", "LOL")}
    name = recipes.choose("data set", args.dataset, names)
    return recipes.finish(recipes.recipe(name, "train", "validation"), args)
