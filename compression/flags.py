"""The flags of the modes that make, apply and check tables; light to import."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

from absl import flags

from common import folder_flags
from common.config import unknown
from common.errors import ConfigError
from compression.names import RATE_MODELS, SUBSAMPLINGS

flags.adopt_module_key_flags(folder_flags)

# Each mode, and how it is called.
MODES = {
    "optimize": "--input=DIR_OR_FILE --output=DIR "
    "[--rate_weight=W[,W ...] | --target_bpp=R | --target_psnr=P]",
    "apply": "--input=DIR_OR_FILE --output=DIR --tables=FILE",
    "calibrate": "[--input=DIR] [--workdir=DIR]",
}

# Our choice.
_RATE_WEIGHT = 20.0

_RATE_WEIGHTS = flags.DEFINE_list(
    "rate_weight",
    None,
    "Weight of the rate: minimises MSE + weight * bits per pixel. More of them, with "
    f"commas between, make a ladder. By default {_RATE_WEIGHT:g}, without a target.",
)
_TARGET_BPP = flags.DEFINE_float(
    "target_bpp", None, "Bits per pixel that files should have, in place of a weight."
)
_TARGET_PSNR = flags.DEFINE_float(
    "target_psnr", None, "Decibels that files should reach, in place of a weight."
)
_SHARED = flags.DEFINE_bool(
    "shared", False, "One pair of tables for all images, not one for each."
)
_SUBSAMPLING = flags.DEFINE_string(
    "subsampling",
    None,
    f"Of the chroma: {', '.join(SUBSAMPLINGS)}. By default what the tables were made "
    "for, else 4:4:4.",
)
_OPTIMIZE_HUFFMAN = flags.DEFINE_bool(
    "optimize_huffman", True, "Codes fitted to each image, not those of Annex K."
)
_STEPS = flags.DEFINE_integer("steps", 100, "Steps of gradient descent.")
_RATE_MODEL = flags.DEFINE_string(
    "rate_model", "laplace", f"What estimates the rate: {', '.join(RATE_MODELS)}."
)
_CURVE_IMAGES = flags.DEFINE_integer(
    "curve_images",
    4,
    "Images of which rate_distortion.png shows the mean curves; 0 for no plot.",
)
_TABLES = flags.DEFINE_string(
    "tables", None, "Tables to apply: JSON of --mode=optimize, or text for cjpeg."
)
_QUALITY = flags.DEFINE_integer(
    "quality", None, "Apply the tables of Annex K at this quality, 1 to 100, instead."
)

# The flags that a mode reads.
_CODING = ("input", "output", "subsampling", "optimize_huffman")
_READ = {
    "optimize": (
        *_CODING,
        *("rate_weight", "target_bpp", "target_psnr", "shared", "steps", "rate_model"),
        "curve_images",
    ),
    "apply": (*_CODING, "tables", "quality"),
    "calibrate": ("input", "subsampling"),
}


@dataclasses.dataclass(frozen=True)
class OptimizeOptions:
    """What the flags of `--mode=optimize` say, checked.

    Either rate weights are given or one of the targets.
    """

    input: str
    output: str
    rate_weights: tuple[float, ...] = ()
    target_bpp: float | None = None
    target_psnr: float | None = None
    shared: bool = False
    subsampling: str = "4:4:4"
    optimize_huffman: bool = True
    steps: int = 100
    rate_model: str = "laplace"
    curve_images: int = 4

    def __post_init__(self):
        _check_one(
            {
                "--rate_weight=W": self.rate_weights or None,
                "--target_bpp=R": self.target_bpp,
                "--target_psnr=P": self.target_psnr,
            }
        )
        for weight in self.rate_weights:
            _check_positive("rate_weight", weight)
        if len(set(self.rate_weights)) < len(self.rate_weights):
            shown = ",".join(f"{weight:g}" for weight in self.rate_weights)
            raise ConfigError(f"--rate_weight={shown} has one weight twice")
        for name in ("target_bpp", "target_psnr"):
            value = getattr(self, name)
            if value is not None:
                _check_positive(name, value)
        _check_subsampling(self.subsampling)
        if self.rate_model not in RATE_MODELS:
            raise ConfigError(unknown("--rate_model", self.rate_model, RATE_MODELS))
        _check_least("steps", self.steps, 1)
        _check_least("curve_images", self.curve_images, 0)


@dataclasses.dataclass(frozen=True)
class ApplyOptions:
    """What the flags of `--mode=apply` say; tables and quality are yet to be checked.

    Without a subsampling it is that of the tables.
    """

    input: str
    output: str
    tables: str | None = None
    quality: int | None = None
    subsampling: str | None = None
    optimize_huffman: bool = True

    def __post_init__(self):
        _check_one({"--tables=FILE": self.tables, "--quality=N": self.quality})
        _check_subsampling(self.subsampling)


@dataclasses.dataclass(frozen=True)
class CalibrateOptions:
    """What the flags of `--mode=calibrate` say, checked; all may be left out."""

    input: str | None = None
    subsampling: str = "4:4:4"

    def __post_init__(self):
        _check_subsampling(self.subsampling)


def optimize_options() -> OptimizeOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: something is missing or not allowed.
    """
    _check_given("optimize")
    weights = _floats("rate_weight", _RATE_WEIGHTS.value)
    if weights is None:
        aimed = _TARGET_BPP.value is not None or _TARGET_PSNR.value is not None
        weights = () if aimed else (_RATE_WEIGHT,)
    return OptimizeOptions(
        *_folders("optimize"),
        rate_weights=weights,
        target_bpp=_TARGET_BPP.value,
        target_psnr=_TARGET_PSNR.value,
        shared=_SHARED.value,
        subsampling=_SUBSAMPLING.value or "4:4:4",
        optimize_huffman=_OPTIMIZE_HUFFMAN.value,
        steps=_STEPS.value,
        rate_model=_RATE_MODEL.value,
        curve_images=_CURVE_IMAGES.value,
    )


def apply_options() -> ApplyOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: something is missing or not allowed.
    """
    _check_given("apply")
    return ApplyOptions(
        *_folders("apply"),
        tables=_TABLES.value,
        quality=_QUALITY.value,
        subsampling=_SUBSAMPLING.value,
        optimize_huffman=_OPTIMIZE_HUFFMAN.value,
    )


def calibrate_options() -> CalibrateOptions:
    """Returns what was given on the command line.

    Raises:
      ConfigError: something is not allowed.
    """
    _check_given("calibrate")
    return CalibrateOptions(
        folder_flags.INPUT.value or None, _SUBSAMPLING.value or "4:4:4"
    )


def _check_given(mode: str) -> None:
    """Refuses flags that only other modes read."""
    for flag in flags.FLAGS.get_key_flags_for_module(__name__):
        readers = [
            f"--mode={name}" for name, read in _READ.items() if flag.name in read
        ]
        if f"--mode={mode}" not in readers and not flag.using_default_value:
            raise ConfigError(
                f"--{flag.name} can be given with {' or '.join(readers)}, --mode is "
                f"{mode}"
            )


def _folders(mode: str) -> tuple[str, str]:
    source, output = folder_flags.INPUT.value, folder_flags.OUTPUT.value
    if not source or not output:
        raise ConfigError(f"--mode={mode} needs --input=DIR_OR_FILE and --output=DIR")
    return source, output


def _floats(name: str, words: Sequence[str] | None) -> tuple[float, ...] | None:
    if words is None:
        return None
    try:
        return tuple(float(word) for word in words)
    except ValueError as error:
        raise ConfigError(
            f"--{name}={','.join(words)}: numbers with commas between are expected"
        ) from error


def _check_one(given: Mapping[str, object]) -> None:
    """Checks that of some flags exactly one is given."""
    names = [name for name, value in given.items() if value is not None]
    if not names:
        raise ConfigError(f"{' or '.join(given)} is needed")
    if len(names) > 1:
        raise ConfigError(f"{' and '.join(names)} exclude each other")


def _check_positive(name: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ConfigError(f"--{name}={value:g} must be greater than 0 and finite")


def _check_least(name: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"--{name}={value} must be at least {least}")


def _check_subsampling(name: str | None) -> None:
    if name is not None and name not in SUBSAMPLINGS:
        raise ConfigError(unknown("--subsampling", name, SUBSAMPLINGS))
