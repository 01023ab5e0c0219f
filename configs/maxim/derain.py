"""Deraining: MAXIM-2S on Rain13k (arXiv 2201.02973).

    python -m maxim.main --config=configs/maxim/derain.py:Rain13k --data_dir=DIR \
        --workdir=RUN

Hardware: 8 accelerators (an estimate), or one GPU with `,one_gpu`. Data: Rain13k with
its five test sets, of which `test` names the one to score. The metric is PSNR of luma:
30.81 on Rain100H, 33.24 on average of the five published, not run here.
"""

from common import config as configs
from maxim import recipes

_TESTS = ("Rain100H", "Rain100L", "Test100", "Test1200", "Test2800")


def get_config(arg: str | None = None):
    """Arguments: the data set; `test`, a test set; `one_gpu`; `smoke`."""
    args = configs.parse_arg(
        arg, dataset="Rain13k", test="Rain100H", one_gpu=False, smoke=False
    )
    name = recipes.choose("data set", args.dataset, {"Rain13k": "Deraining/Rain13k"})
    test = recipes.choose("test set", args.test, {test: test for test in _TESTS})
    return recipes.finish(recipes.recipe(name, "train", f"test/{test}", test), args)
