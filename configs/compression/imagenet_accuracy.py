"""Tables that keep ImageNet's classes recognisable, with a frozen MaxViT in the loop.

    python -m compression.main --config=configs/compression/imagenet_accuracy.py:T \
        --init_from=timm:maxvit_tiny_tf_224.in1k --data_dir=$TFDS_DATA_DIR --workdir=RUN

Any variant of `configs/maxvit/imagenet1k.py` with its weights, or the directory of a
run. Images are resized and cropped for the classifier before they are compressed:
ImageNet's own files are quantised already. Hardware: one GPU or TPU; batch 32. The
metric is the mean gain in top-1 over Annex K at equal bytes, on 5,000 images of the
validation split, which no tables are learned on; not run here.
"""

from common import config as configs
from compression.config import default_config, shrink, use_classifier
from configs.maxvit import imagenet1k


def get_config(arg: str | None = None):
    """Arguments: the variant of MaxViT (T, S, B, L); `smoke`."""
    args = configs.parse_arg(arg, variant="T", smoke=False)
    config = default_config()
    experiment = imagenet1k.get_config(args.variant + (",smoke" if args.smoke else ""))
    use_classifier(config, "maxvit", experiment)
    config.data.eval_split = "validation[:5000]"
    # Cross entropy is some thousand times smaller than a squared error.
    config.model.rate_weights = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
    config.evaluation.qualities = (5, 10, 15, 20, 30, 40, 50, 60, 75, 90)
    config.batch_size = 32
    config.total_steps = 20_000
    config.optimizer.clip_norm = 1.0
    if args.smoke:
        size = config.data.image_size
        shrink(config)
        config.data.image_size = size
        config.model.rate_weights = (0.05, 0.5)
    return config
