"""A learned resizer in front of four networks on ImageNet-1k (arXiv 2103.09950).

    python -m resizer.main --config=configs/resizer/imagenet.py:resnet50,phase=0 \
        --data_dir=$TFDS_DATA_DIR --workdir=runs/resnet50
    python -m resizer.main \
        --config=configs/resizer/imagenet.py:resnet50,input_size=368 \
        --init_from=runs/resnet50 --data_dir=$TFDS_DATA_DIR --workdir=runs/resized
    python -m resizer.main \
        --config=configs/resizer/imagenet.py:resnet50,input_size=368,resizer=bilinear \
        --init_from=runs/resnet50 --data_dir=$TFDS_DATA_DIR --workdir=runs/control

The network is trained behind the bilinear resize (phase 0; published weights of it do,
too, with --init_from=resnet50.safetensors), then on with the resizer, and beside that
without: the control. `--mode=study` runs all three.

Networks: inception_v2, densenet121, resnet50, mobilenet_v2. Data: tensorflow-datasets
`imagenet2012`, prepared as array_record. Hardware: a GPU or TPU; the batch is smaller
for larger images, as in the paper, which does not say how small. Published top-1 error
of ResNet-50: 24.7 % behind the bilinear resize, 23.0 % behind the resizer from 368
pixels; the others are in resizer/README.md. Ours: not run.
"""

from common import config as configs
from common.errors import ConfigError
from common.models import registry
from resizer import phases
from resizer.config import imagenet, shrink

# Side of the resizer's input -> our choice of a batch.
_BATCHES = {224: 256, 256: 256, 320: 192, 368: 128, 448: 96}


def get_config(arg: str | None = None):
    """Arguments: the `backbone`, `input_size`, `phase`, `resizer`, `smoke`.

    `resizer` is a key of `resizer.phases.RESIZERS`; in phase 0 it is bilinear. The
    rates (0.05, then 0.005, times 0.94 every two epochs), momentum and label smoothing
    are the paper's. Epochs, weight decay, crops and batches are ours: it does not give
    them.
    """
    args = configs.parse_arg(
        arg,
        backbone="resnet50",
        input_size=448,
        phase=1,
        resizer="learned",
        smoke=False,
    )
    if args.input_size not in _BATCHES:
        sizes = ", ".join(map(str, _BATCHES))
        raise ConfigError(f"input_size={args.input_size}: the paper has {sizes}")
    config = imagenet(args.input_size)
    config.batch_size = _BATCHES[args.input_size]
    config.model.backbone = args.backbone
    config.preprocess.normalization = registry.normalization(args.backbone)
    phases.choose(config, args.resizer if args.phase else "bilinear")
    phases.apply(config, args.phase)
    if args.smoke:
        shrink(config)
    return config
