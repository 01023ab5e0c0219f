"""The paper's ablations of the MaxViT block on ImageNet-1k (section 4.4, figure 5).

    python -m maxvit.main --config=configs/maxvit/ablations.py:no_grid_s1 \
        --data_dir=$TFDS_DATA_DIR --workdir=DIR

Each is the recipe of imagenet1k.py with one change. Published top-1 at 224 pixels, of T
where no variant is named; ours: none of them run.

    base                                              83.62
    no_grid_s1, _s2, _s3: no grid attention there     83.36  83.38  83.00
    block_for_grid_s1, _s2, _s3: block in its place   83.49  83.41  83.40
    no_mbconv_s1, _s2, _s3, _s4: no MBConv there      83.24  83.02  82.65  83.09
    C-GA-BA: MBConv, grid, block                      83.54
    BA-C-GA, BA-GA-C, GA-C-BA, GA-BA-C: other orders  83.07  83.02  83.08  83.03
    parallel,variant=T (S, B, L): both side by side   82.64  83.45  83.70  83.54
    swin_depths,variant=T (S, B, L): other depths     only plotted: like base for T
                                                      and S, worse for B and L

Data and Hardware: as for imagenet1k.py.
"""

from common import config as configs
from common.errors import ConfigError
from maxvit import recipes

_BASE = "C-BA-GA"
_ORDERS = ("C-GA-BA", "BA-C-GA", "BA-GA-C", "GA-C-BA", "GA-BA-C")
# Figure 5: the depths of Swin Transformers.
_SWIN_DEPTHS = {
    "T": (2, 2, 6, 2),
    "S": (2, 2, 6, 2),
    "B": (2, 2, 18, 2),
    "L": (2, 2, 18, 2),
}


def _only_in(stage: int, layout: str) -> str:
    return ",".join(layout if s == stage else _BASE for s in (1, 2, 3, 4))


# Row -> config.model.block_layout.
LAYOUTS = {
    "base": _BASE,
    **{f"no_grid_s{s}": _only_in(s, "C-BA") for s in (1, 2, 3)},
    **{f"block_for_grid_s{s}": _only_in(s, "C-BA-BA") for s in (1, 2, 3)},
    **{f"no_mbconv_s{s}": _only_in(s, "BA-GA") for s in (1, 2, 3, 4)},
    **{order: order for order in _ORDERS},
    "parallel": "C-BA|GA",
    "swin_depths": _BASE,
}


def get_config(arg: str | None = None):
    """Arguments: the row, `variant` (T, S, B, L), `smoke`."""
    args = configs.parse_arg(arg, row="base", variant="T", smoke=False)
    if args.row not in LAYOUTS:
        raise ConfigError(configs.unknown("ablation", args.row, LAYOUTS))
    config = recipes.imagenet1k(args.variant)
    config.model.block_layout = LAYOUTS[args.row]
    if args.row == "parallel":
        config.schedule.peak = 1e-3
    if args.row == "swin_depths":
        config.model.depths = _SWIN_DEPTHS[args.variant]
    return recipes.finish(config, args.smoke)
