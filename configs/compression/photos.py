"""Tables for photographs, for six rate weights at once: a demo without download.

    python -m compression.main --config=configs/compression/photos.py \
        --workdir=runs/photos_tables

Hardware: two CPU cores. Data: the photographs that scikit-image and scikit-learn
bundle; three of them are held out. The metric is their mean BD-rate against the tables
of Annex K, from real files: -21.5 % at 4:4:4.
"""

from common import config as configs
from compression.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: the subsampling; `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, subsampling="4:4:4", smoke=False)
    config = default_config()
    config.data.source = "bundled"
    config.data.name = "photos"
    config.model.subsampling = args.subsampling
    config.batch_size = 12
    config.total_steps = 400
    config.schedule.peak = 0.03
    if args.smoke:
        shrink(config)
    return config
