"""NIMA on AVA: the histogram of the scores that people gave photographs.

    python -m iqa.main --config=configs/iqa/ava.py:maxvit_tiny --data_dir=AVA \
        --init_from=timm:maxvit_tiny_tf_224.in1k --workdir=runs/ava
    python -m iqa.main --config=configs/iqa/ava.py:maxvit_tiny,image_size=384 ...
    python -m iqa.main --config=configs/iqa/ava.py:resnet50 --data_dir=AVA \
        --init_from=resnet50.safetensors --workdir=runs/ava

The data: `AVA.txt` and `images/<id>.jpg` (iqa/ava.py); `--mode=check` lists broken
files first. Hardware: 8 x V100 or one A100 for MaxViT-T at 224.
Published for MaxViT-T (arXiv 2204.01697): metric plcc 0.707, srcc 0.685 at 224 pixels,
0.736 and 0.699 at 384, 0.745 and 0.708 at 512. Not run by us.

From that paper: dropout 0.75, EMD with r = 2, momentum 0.9, rate 1e-3 times 0.9 every
ten epochs, stochastic depth 0.5. It does not give batch, epochs, crops and split; ours.
Other backbones follow NIMA (arXiv 1709.05424): the new layer learns ten times faster
than the rest. Its own rates, 3e-7 and 3e-6, did not converge for others; ours are 1e-4
and 1e-3.
"""

from common import config as configs
from common.models import registry
from iqa.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: the `backbone`, `image_size`, `smoke` for a run of seconds."""
    args = configs.parse_arg(arg, backbone="maxvit_tiny", image_size=224, smoke=False)
    config = default_config()
    config.data.image_size = args.image_size
    config.augment.resize = args.image_size * 8 // 7
    config.model.backbone = args.backbone
    config.preprocess.normalization = registry.normalization(args.backbone)
    config.reinitialize = ("^params/head/",)
    config.dtype = "bfloat16"

    config.batch_size = 64
    config.eval_batch_size = 64
    config.total_epochs = 30.0
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 1.0
    config.data.num_workers = 8
    config.schedule.name = "exponential"
    config.schedule.decay_every_epochs = 10.0
    config.schedule.peak = 1e-3
    if args.backbone.startswith("maxvit"):
        config.model.options.drop_path_rate = 0.5
        config.schedule.decay_rate = 0.9
    else:
        config.schedule.decay_rate = 0.95
        config.optimizer.lr_multipliers = (("^backbone/", 0.1),)
    if args.smoke:
        shrink(config)
    return config
