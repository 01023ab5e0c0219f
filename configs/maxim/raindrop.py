"""Removal of raindrops: MAXIM-2S on Raindrop (arXiv 2201.02973).

    python -m maxim.main --config=configs/maxim/raindrop.py --data_dir=DIR --workdir=RUN

Hardware: 8 accelerators (an estimate), or one GPU with `:one_gpu`. Data: Raindrop, 861
pairs. The metric is PSNR of luma on test set A (that it is luma is an assumption):
31.87 published, not run here.
"""

from common import config as configs
from maxim import recipes


def get_config(arg: str | None = None):
    """Arguments: `test`, test set `a` or `b`; `one_gpu`; `smoke`."""
    args = configs.parse_arg(arg, test="a", one_gpu=False, smoke=False)
    tests = {"a": "Test-A", "b": "Test-B"}
    test = recipes.choose("test set", args.test, tests)
    config = recipes.recipe("Deraining/Raindrop", "train", f"test_{args.test}", test)
    return recipes.finish(config, args)
