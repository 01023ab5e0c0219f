"""Tables learned on any photographs and judged on Kodak's 24.

    python -m compression.main --config=configs/compression/kodak.py --data_dir=DIR \
        --workdir=RUN

Data: `DIR/train/**/<image>`, such as DIV2K's training images, without JPEG artefacts
of their own, and `DIR/kodak/kodim01.png` to `kodim24.png`. Hardware: two CPU cores or
any accelerator. The metric is the mean BD-rate against Annex K from real files, in per
cent, at 4:4:4, or 4:2:0 with `:4:2:0`. Not run here; the paper's numbers are not known.
"""

from common import config as configs
from compression.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: the subsampling; `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, subsampling="4:4:4", smoke=False)
    config = default_config()
    config.data.source = "images"
    config.data.eval_split = "kodak"
    config.model.subsampling = args.subsampling
    if args.smoke:
        shrink(config)
    return config
