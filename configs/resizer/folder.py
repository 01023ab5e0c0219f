"""A learned resizer on your own pictures: one folder per class.

    python -m resizer.main --config=configs/resizer/folder.py:resnet50,published \
        --data_dir=DIR --init_from=resnet50.safetensors --workdir=runs/mine
    python -m resizer.main --mode=study --repeats=3 --data_dir=DIR \
        --workdir=runs/study --config=configs/resizer/folder.py:resnet50,published \
        --pretrained=resnet50.safetensors
    python -m resizer.main --mode=predict --workdir=runs/mine --input=DIR --output=SMALL

Data: `DIR/train/<class>/*.jpg` and `DIR/validation/<class>/*.jpg`, or only
`DIR/<class>/*.jpg`, of which a tenth is then held out. The study says whether the
resizer is worth it: others found gains on some data and none on other. Hardware: a GPU
for ResNet-50 from 448 pixels. Expected metric: depends on the data; not run.
"""

from common import config as configs
from common.models import registry
from resizer import phases
from resizer.config import default_config, shrink


def get_config(arg: str | None = None):
    """Arguments: the `backbone`, `input_size`, `phase`, `resizer`, `smoke`.

    `published` says that the weights to start from know other classes, so that the last
    layer starts anew.
    """
    args = configs.parse_arg(
        arg,
        backbone="resnet50",
        input_size=448,
        phase=1,
        resizer="learned",
        published=False,
        smoke=False,
    )
    config = default_config()
    config.data.source = "folder"
    config.data.num_workers = 4
    config.data.image_size = args.input_size
    config.model.backbone = args.backbone
    config.preprocess.normalization = registry.normalization(args.backbone)
    config.batch_size = 32
    config.eval_every_epochs = 1.0
    config.checkpoint_every_epochs = 1.0
    if args.published:
        config.phases.pretrain_epochs, config.phases.pretrain_rate = 20.0, 0.005
        config.reinitialize = (phases.CLASSIFIER,)
    phases.choose(config, args.resizer if args.phase else "bilinear")
    phases.apply(config, args.phase)
    if args.smoke:
        shrink(config)
    return config
