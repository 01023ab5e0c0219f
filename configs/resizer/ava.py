"""Scores of photographs with a resizer in front of the network (arXiv 2103.09950).

    python -m resizer.main --config=configs/resizer/ava.py:densenet121 --data_dir=AVA \
        --init_from=runs/imagenet_resized --workdir=runs/ava
    python -m resizer.main --data_dir=AVA --workdir=runs/ava \
        --config=configs/resizer/ava.py:densenet121,start=network \
        --init_from=densenet121:densenet121.safetensors
    python -m resizer.main --data_dir=AVA --workdir=runs/control \
        --config=configs/resizer/ava.py:densenet121,resizer=bilinear \
        --init_from=runs/imagenet_control

Networks: inception_v2, densenet121, efficientnet_b0. The first command starts from a
run of configs/resizer/imagenet.py with the same network and resizer, the second from
weights of the network alone; the third is the control. The task is NIMA's, of the
package iqa, which reads the data: `AVA.txt` and `images/<id>.jpg`. Hardware: a GPU or
TPU. Published metric (plcc), from memory: Inception-v2 0.662 without and 0.686 with the
resizer, DenseNet-121 0.662 and 0.683, EfficientNet-B0 0.642 and 0.671. Ours: not run.
"""

from common import config as configs
from common.config import unknown
from common.errors import ConfigError
from configs.iqa import ava
from resizer import phases
from resizer.config import put_behind

_STARTS = {"joint": (), "network": ("/resizer/",)}


def get_config(arg: str | None = None):
    """Arguments: the `backbone`, `input_size`, `resizer`, `start`, `smoke`.

    EMD with r = 2 is the paper's; the recipe is that of configs/iqa/ava.py, two rates
    with the new layer's ten times the network's, since the paper does not give one.
    """
    args = configs.parse_arg(
        arg,
        backbone="densenet121",
        input_size=448,
        resizer="learned",
        start="joint",
        smoke=False,
    )
    if args.start not in _STARTS:
        raise ConfigError(unknown("start", args.start, _STARTS))
    smoke = ",smoke" if args.smoke else ""
    config = ava.get_config(f"{args.backbone},image_size={args.input_size}{smoke}")
    put_behind(config, 16 if args.smoke else 224)
    phases.choose(config, args.resizer)
    anew = _STARTS[args.start] if phases.is_learned(config) else ()
    config.reinitialize = (*config.reinitialize, *anew)
    return config
