"""torchvision's `maxvit_t`: recognised, and refused with the reasons.

Its sizes are MaxViT-T's, so the arrays would fit; the network around them is another
one. Compared with torchvision's model definition, which was written for weights of its
own training and not for the official checkpoints.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NoReturn

from common.errors import ConfigError

# Differences in what is computed; no rearrangement of weights makes up for them.
DIFFERENCES = (
    "convolutions of stride 2 pad both sides by 1 (ours: TensorFlow's SAME, which "
    "pads right and bottom)",
    "GELU is exact, with erf (ours: the tanh approximation)",
    "shortcuts are pooled 3 x 3 with padding (ours: 2 x 2)",
    "the first stage's shortcut is projected though its width stays (ours: only "
    "where it changes)",
)


def is_torchvision(names: Iterable[str]) -> bool:
    """Whether names are of torchvision's MaxViT."""
    return any(".layers.MBconv.layers." in name for name in names)


def from_torchvision(state_dict: Mapping[str, Any]) -> NoReturn:
    """Refuses torchvision's weights.

    Raises:
      ConfigError: always; it names the differences.
    """
    del state_dict
    raise ConfigError(
        "weights of torchvision's maxvit_t cannot be converted, its network differs: "
        + "; ".join(DIFFERENCES)
        + "; take timm:maxvit_tiny_tf_224.in1k, a port of the official weights"
    )
