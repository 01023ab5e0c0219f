"""MaxViT pre-trained as on JFT-300M, on any large set of pictures (table 12, column 5).

    python -m maxvit.main --config=configs/maxvit/jft.py:B --data_dir=DIR --workdir=RUN

JFT-300M is private. Data: `DIR/train/<class>/*.jpg` and `DIR/validation/<class>/*.jpg`,
or `DIR/<class>/*.jpg`, of which a tenth is then held out; or a TFDS set with
`--config.data.source=tfds --config.data.name=NAME`. One class per picture, their number
is read from the data. The paper's 14 epochs were about a million steps: the warm-up of
20,000 steps wants a large set, on a smaller one set config.schedule.warmup_steps.
Hardware: batch 4096 in bfloat16 wants 32 GPUs or TPU v3 cores and more for XL; on
fewer, raise config.grad_accumulation. Published metric: none for this stage, see
jft_finetune.py for what follows it. Ours: not run.
"""

from common import config as configs
from maxvit import recipes


def get_config(arg: str | None = None):
    """Arguments: the variant (B, L, XL) and `smoke`."""
    args = configs.parse_arg(arg, variant="B", smoke=False)
    config = recipes.large_scale("jft", args.variant)
    config.loss.label_smoothing = 0.0
    config.total_epochs = 14.0
    config.eval_every_epochs = 1.0
    # An epoch of JFT-300M is 73 thousand steps.
    config.checkpoint_every_epochs = None
    config.checkpoint_every_steps = 5000
    config.schedule.warmup_steps = 20_000
    return recipes.finish(config, args.smoke)
