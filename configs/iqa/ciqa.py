"""A full-reference metric for JPEG, learned from the preferences of CIQA's raters.

    python -m iqa.main --config=configs/iqa/ciqa.py --data_dir=AVA \
        --init_from=vgg16.safetensors --workdir=runs/ciqa
    python -m iqa.main --mode=eval --workdir=runs/ciqa --config=configs/iqa/ciqa.py \
        --config.data.eval_split=test --data_dir=AVA
    python -m iqa.main --config=configs/iqa/ciqa.py:concatenation,backbone=resnet50 \
        --data_dir=AVA --init_from=resnet50.safetensors --workdir=runs/ciqa_m2

The data: `train.csv`, `test.csv` and `images/<id>.jpg` of AVA (iqa/ciqa.py). Hardware:
one GPU of 16 GB. Not run by us: the metric (two_alternative on the test set, with its
ceiling and all rivals) is not known, and the paper (arXiv 2103.01114) publishes neither
network nor weights, so nothing here stands for its numbers.

All hyperparameters are ours: the head learns ten times faster than the backbone, 30
epochs of 32 pairs of 256 pixels, cosine decay. For a head of some epochs before, train
with `--config.optimizer.lr_multipliers="(('^backbone/',0.0),)"` first and go on from
that run's weights with `--init_from=DIR --config.reinitialize=()`.
"""

from common import config as configs
from common.models import registry
from iqa.preference_config import default_config, shrink

# What is not of the backbone: it starts anew where published weights are read.
_HEADS = {
    "distance": ("^params/(weight_|gain|seen)",),
    "concatenation": ("^params/(hidden|score)",),
}


def get_config(arg: str | None = None):
    """Arguments: the `model`, its `backbone`, `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, model="distance", backbone="vgg16", smoke=False)
    config = default_config()
    config.model.name = args.model
    config.model.backbone = args.backbone
    config.preprocess.normalization = registry.normalization(args.backbone)
    config.reinitialize = _HEADS.get(args.model, ())
    if args.model == "concatenation":
        config.loss.reference_weight = 0.1

    config.batch_size = 32
    config.eval_batch_size = 8
    config.total_epochs = 30.0
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 1.0
    config.data.num_workers = 4
    config.optimizer.name = "adam"
    config.optimizer.lr_multipliers = (("^backbone/", 0.1),)
    config.schedule.peak = 1e-4
    if args.smoke:
        shrink(config)
    return config
