"""What others report of the learned resizer, and what we measured (arXiv 2103.09950).

The paper itself was not at hand. A number with a source was read there; the others are
from memory, are marked in tables, and are to be checked before anybody relies on them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

from common import results
from common.config import unknown
from common.errors import ConfigError

INPUT_SIZES = (224, 256, 320, 368, 448)


@dataclasses.dataclass(frozen=True)
class Published:
    """A network with and without the resizer.

    Attributes:
      bilinear: error in percent, or PLCC, behind the bilinear resize.
      learned: the same behind the resizer.
      input_size: side of the image that the best resizer gets; None: not known.
      checked: whether the numbers were read in a source, and are not from memory.
    """

    bilinear: float
    learned: float
    input_size: int | None = None
    checked: bool = False


# Top-1 error on ImageNet's validation images; PLCC of the mean scores on AVA. ResNet-50
# and the sizes are from reviews of the paper.
TASKS: dict[str, dict[str, Published]] = {
    "imagenet": {
        "inception_v2": Published(26.7, 24.0),
        "densenet121": Published(33.1, 29.8, 448),
        "resnet50": Published(24.7, 23.0, 368, checked=True),
        "mobilenet_v2": Published(29.5, 28.4),
    },
    "ava": {
        "inception_v2": Published(0.662, 0.686),
        "densenet121": Published(0.662, 0.683),
        "efficientnet_b0": Published(0.642, 0.671),
    },
}
METRICS = {"imagenet": "top-1 error, %", "ava": "PLCC"}
RESIZERS = ("bilinear", "learned")
RESULTS = Path(__file__).with_name("results.csv")


@dataclasses.dataclass(frozen=True)
class Result:
    """One evaluation of ours on all of a data set.

    Attributes:
      task: a key of `TASKS`.
      backbone: a key of `TASKS[task]`.
      resizer: one of `RESIZERS`.
      input_size: one of `INPUT_SIZES`.
      value: in the unit of `METRICS`.
      command: that printed it.

    Raises:
      ConfigError: a value that no result has.
    """

    task: str
    backbone: str
    resizer: str
    input_size: int
    value: float
    command: str

    def __post_init__(self):
        for what, value, choices in (
            ("task", self.task, TASKS),
            ("backbone", self.backbone, TASKS.get(self.task, ())),
            ("resizer", self.resizer, RESIZERS),
            ("input_size", str(self.input_size), tuple(map(str, INPUT_SIZES))),
        ):
            if value not in choices:
                raise ConfigError(unknown(what, value, choices))
        top = 100 if self.task == "imagenet" else 1
        if not 0 < self.value <= top:
            raise ConfigError(f"value={self.value} must be in (0, {top}]")
        results.check_command(self.command)


def read_results(path: Path = RESULTS) -> list[Result]:
    """Reads the results that `--mode=eval` runs gave and somebody wrote down.

    Raises:
      DataError: naming the line that is not a result.
    """
    return results.read(path, Result)
