"""What is published of MAXIM: checkpoints and their scores (arXiv 2201.02973).

Light to import: the launcher looks tasks up here before anything else is loaded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from common import results
from common.config import unknown
from common.errors import ConfigError

SCHEME = "maxim:"
URL = "https://storage.googleapis.com/gresearch/maxim/ckpt"
VARIANTS = ("S-1", "S-2", "S-3", "M-1", "M-2", "M-3")
RESULTS = Path(__file__).with_name("results.csv")

# Variant -> millions of parameters and GFLOPs at 256 x 256, as the paper counts them:
# two FLOPs per multiply-add. Of the others nothing is published.
SIZES = {"S-2": (14.1, 216), "S-3": (22.2, 339)}

# Where a score is from, by how far it can be trusted.
SOURCES = {
    "readme": "official README",
    "reports": "tables of later papers",
    "recalled": "said to be in the paper; not checked",
}


@dataclasses.dataclass(frozen=True)
class Score:
    """A published result on one test set.

    Attributes:
      test_set: its name.
      psnr: in dB, the mean over images.
      ssim: the mean over images.
      source: a key of `SOURCES`.
    """

    test_set: str
    psnr: float
    ssim: float
    source: str = "readme"


@dataclasses.dataclass(frozen=True)
class Checkpoint:
    """A published checkpoint.

    Attributes:
      name: `Task/Set` as in its address.
      variant: of MAXIM, with three scales.
      config: experiment file with its argument, of the model and its data.
      channels: what PSNR and SSIM are of: "rgb", or "y" for luma.
      scores: published results; the first is on the set it was trained for.
    """

    name: str
    variant: str
    config: str
    channels: str
    scores: tuple[Score, ...]

    @property
    def url(self) -> str:
        """Address of the file."""
        return f"{URL}/{self.name}/checkpoint.npz"

    @property
    def init_from(self) -> str:
        """What `--init_from` takes for it."""
        return SCHEME + self.name


def _checkpoint(
    name: str, variant: str, config: str, *scores: Score, channels: str = "rgb"
) -> tuple[str, Checkpoint]:
    config = f"configs/maxim/{config}"
    return name, Checkpoint(name, variant, config, channels, scores)


# Published scores are without ensembles, as far as is known. RealBlur's protocol
# aligns every result with its target first. Deraining is scored on luma, as its papers
# do; that raindrops are too is an assumption. Rain100H's SSIM is 0.904 in some tables.
# DND is scored by its server, with the weights of SIDD.
CHECKPOINTS: Mapping[str, Checkpoint] = dict(
    (
        _checkpoint(
            "Denoising/SIDD",
            "S-3",
            "denoise.py:SIDD",
            Score("SIDD", 39.96, 0.960),
            Score("DND", 39.84, 0.954),
        ),
        _checkpoint(
            "Deblurring/GoPro",
            "S-3",
            "deblur.py:GoPro",
            Score("GoPro", 32.86, 0.961),
            Score("HIDE", 32.83, 0.956),
            Score("RealBlur-R", 35.78, 0.947, "recalled"),
            Score("RealBlur-J", 28.83, 0.875, "recalled"),
        ),
        _checkpoint(
            "Deblurring/RealBlur_R",
            "S-3",
            "deblur.py:RealBlur_R",
            Score("RealBlur-R", 39.45, 0.962),
        ),
        _checkpoint(
            "Deblurring/RealBlur_J",
            "S-3",
            "deblur.py:RealBlur_J",
            Score("RealBlur-J", 32.84, 0.935),
        ),
        _checkpoint(
            "Deblurring/REDS", "S-3", "deblur.py:REDS", Score("REDS", 28.93, 0.865)
        ),
        _checkpoint(
            "Deraining/Rain13k",
            "S-2",
            "derain.py:Rain13k",
            Score("mean of the five", 33.24, 0.933),
            Score("Test100", 31.17, 0.922, "reports"),
            Score("Rain100H", 30.81, 0.903, "reports"),
            Score("Rain100L", 38.06, 0.977, "reports"),
            Score("Test2800", 33.80, 0.943, "reports"),
            Score("Test1200", 32.37, 0.922, "reports"),
            channels="y",
        ),
        _checkpoint(
            "Deraining/Raindrop",
            "S-2",
            "raindrop.py",
            Score("Test-A", 31.87, 0.935),
            Score("Test-B", 25.74, 0.827, "recalled"),
            channels="y",
        ),
        _checkpoint(
            "Dehazing/SOTS-Indoor",
            "S-2",
            "dehaze.py:ITS",
            Score("SOTS-Indoor", 38.11, 0.991),
        ),
        _checkpoint(
            "Dehazing/SOTS-Outdoor",
            "S-2",
            "dehaze.py:OTS",
            Score("SOTS-Outdoor", 34.19, 0.985),
        ),
        _checkpoint(
            "Enhancement/FiveK",
            "S-2",
            "enhance.py:FiveK",
            Score("FiveK", 26.15, 0.945),
        ),
        _checkpoint(
            "Enhancement/LOL", "S-2", "enhance.py:LOL", Score("LOL", 23.43, 0.863)
        ),
    )
)

# What to restore -> the checkpoint that is taken unless one is named.
TASKS = {
    "denoising": "Denoising/SIDD",
    "deblurring": "Deblurring/GoPro",
    "deraining": "Deraining/Rain13k",
    "raindrop": "Deraining/Raindrop",
    "dehazing-indoor": "Dehazing/SOTS-Indoor",
    "dehazing-outdoor": "Dehazing/SOTS-Outdoor",
    "enhancement": "Enhancement/FiveK",
    "low-light": "Enhancement/LOL",
}


def find(name: str) -> Checkpoint:
    """Finds a checkpoint.

    Args:
      name: a key of `TASKS` or of `CHECKPOINTS`, in any case.

    Raises:
      ConfigError: there is none of that name; it says which ones there are.
    """
    known = {key.lower(): key for key in CHECKPOINTS} | TASKS
    if name.lower() not in known:
        choices = (*TASKS, *CHECKPOINTS)
        begun = [key for key in choices if key.lower().startswith(name.lower())]
        if name and len(begun) > 1:
            raise ConfigError(f"{name!r} can mean {' or '.join(begun)}: say which")
        raise ConfigError(unknown("MAXIM task or checkpoint", name, choices))
    return CHECKPOINTS[known[name.lower()]]


def named(init_from: str) -> Checkpoint | None:
    """Returns the checkpoint that `maxim:NAME` means, None for anything else.

    Raises:
      ConfigError: there is none of that name.
    """
    if not init_from.startswith(SCHEME):
        return None
    return find(init_from.removeprefix(SCHEME))


@dataclasses.dataclass(frozen=True)
class Result:
    """One evaluation of ours on a whole test set, as its papers score it.

    Attributes:
      checkpoint: a key of `CHECKPOINTS`.
      test_set: of one of its scores.
      weights: "official", or "own" for weights we trained.
      psnr: in dB.
      ssim: of the same images.
      command: that printed it.

    Raises:
      ConfigError: a value that no result has.
    """

    checkpoint: str
    test_set: str
    weights: str
    psnr: float
    ssim: float
    command: str

    def __post_init__(self):
        if self.checkpoint not in CHECKPOINTS:
            raise ConfigError(unknown("checkpoint", self.checkpoint, CHECKPOINTS))
        sets = [score.test_set for score in CHECKPOINTS[self.checkpoint].scores]
        if self.test_set not in sets:
            raise ConfigError(unknown("test_set", self.test_set, sets))
        if self.weights not in ("official", "own"):
            raise ConfigError(unknown("weights", self.weights, ("official", "own")))
        if not 0 < self.psnr < 100:
            raise ConfigError(f"psnr={self.psnr} must be in (0, 100)")
        if not 0 < self.ssim <= 1:
            raise ConfigError(f"ssim={self.ssim} must be in (0, 1]")
        results.check_command(self.command)


def read_results(path: Path = RESULTS) -> list[Result]:
    """Reads the results that `--mode=eval` gave and somebody wrote down.

    Raises:
      DataError: naming the line that is not a result.
    """
    return results.read(path, Result)
