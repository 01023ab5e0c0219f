"""A CIQA-style metric on JPEG files of photographs in the box: minutes, no download.

    python -m iqa.main --config=configs/iqa/preference_photos.py --workdir=runs/pairs
    python -m iqa.main --config=configs/iqa/preference_photos.py:one --workdir=runs/one
    python -m iqa.main --config=configs/iqa/preference_photos.py:model=concatenation \
        --workdir=runs/concatenation

Hardware: two CPU cores. Data: tiles of 13 photographs for training and of three others
for evaluation, as files of three encoders, or of one as in CIQA; the votes are
simulated, see iqa/preference_demo.py and iqa/simulated_raters.py. Measured metric
(two_alternative, beside its ceiling and the rule that the higher quality factor wins):
see iqa/README.md.
"""

from common import config as configs
from iqa.preference_config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: `encoders`, "three" or "one"; `model`; `smoke` for seconds."""
    args = configs.parse_arg(arg, encoders="three", model="distance", smoke=False)
    config = default_config()
    config.data.source = "preference_photos"
    config.data.name = args.encoders
    config.data.image_size = 96
    config.model.name = args.model
    config.model.backbone = "small"
    config.model.dropout = 0.0
    if args.model == "concatenation":
        config.loss.reference_weight = 0.1

    config.batch_size = 32
    config.eval_batch_size = 8
    config.total_epochs = 20.0
    config.eval_every_epochs = 10.0
    config.checkpoint_every_epochs = 10.0
    config.log_every_steps = 20
    config.optimizer.name = "adam"
    config.schedule.peak = 1e-3
    config.schedule.warmup_epochs = 0.5
    if args.smoke:
        shrink(config)
    return config
