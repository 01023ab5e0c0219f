"""Dehazing: MAXIM-2S on RESIDE, indoors or outdoors (arXiv 2201.02973).

    python -m maxim.main --config=configs/maxim/dehaze.py:ITS --data_dir=DIR \
        --workdir=RUN

Hardware: 8 accelerators (an estimate), or one GPU with `,one_gpu`. Data: RESIDE, with
ITS (13,990 pairs) or OTS (313,950) to train on and SOTS to score. The metric is PSNR in
RGB: 38.11 on SOTS-indoor and 34.19 on SOTS-outdoor published, not run here.
"""

from common import config as configs
from maxim import recipes

_CHECKPOINTS = {"ITS": "Dehazing/SOTS-Indoor", "OTS": "Dehazing/SOTS-Outdoor"}
_TESTS = {"ITS": "SOTS/indoor", "OTS": "SOTS/outdoor"}


def get_config(arg: str | None = None):
    """Arguments: the data set, ITS or OTS; `one_gpu`; `smoke`."""
    args = configs.parse_arg(arg, dataset="ITS", one_gpu=False, smoke=False)
    name = recipes.choose("data set", args.dataset, _CHECKPOINTS)
    return recipes.finish(
        recipes.recipe(name, args.dataset, _TESTS[args.dataset]), args
    )
