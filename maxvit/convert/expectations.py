"""What weights expect of the images they see, told before they are read."""

import json
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from common.data.normalization import STYLES
from common.errors import ConfigError, DataError
from maxvit.convert import files, published


class Expectation(NamedTuple):
    """What weights are for.

    Attributes:
      variant: of MaxViT, None when not known.
      resolution: side of the images they were trained on, None when not known.
      preprocess: fields of `config.preprocess` with their values.
    """

    variant: str | None
    resolution: int | None
    preprocess: Mapping[str, str]


def find(init_from: str, skip: Collection[str] = ()) -> Expectation | None:
    """Finds out what weights expect, without fetching or opening them.

    A published name says it, or the `config.json` that timm's repositories hold beside
    `model.safetensors`, or else a file or folder that bears a published name.

    Args:
      init_from: `timm:NAME`, `timm:PATH` or `PATH`.
      skip: fields of `config.preprocess` that are not of interest.

    Returns:
      The expectation, None where nothing tells.

    Raises:
      ConfigError: the name is not published, or the file says what we cannot do.
      DataError: there are no such weights, or `config.json` cannot be read.
    """
    name = published.name_of(init_from)
    if name is None:
        path = files.find(published.path_of(init_from))
        if path.name == files.HUB_WEIGHTS:
            config = _read(path.with_name("config.json"))
            if config is not None:
                return _from_config(path.with_name("config.json"), config, skip)
            name = path.absolute().parent.name
        else:
            name = path.stem
    weight = published.PUBLISHED.get(name)
    if weight is None:
        return None
    fields = {k: v for k, v in weight.preprocess.items() if k not in skip}
    return Expectation(weight.variant, weight.resolution, fields)


def _read(path: Path) -> dict[str, Any] | None:
    """Returns timm's `config.json`; None when there is none or it is another one."""
    if not path.is_file():
        return None
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path} is not readable JSON: {error}") from error
    inner = config.get("pretrained_cfg") if isinstance(config, dict) else None
    return config if isinstance(inner, dict) else None


def _from_config(
    path: Path, config: Mapping[str, Any], skip: Collection[str]
) -> Expectation:
    """What a `config.json` says; a field it does not mention is left as it is."""
    readers: Mapping[str, Callable[[Mapping[str, Any]], str | None]] = {
        "normalization": _normalization,
        "eval_crop": _eval_crop,
    }
    fields = {}
    for field, read in readers.items():
        try:
            value = None if field in skip else read(config["pretrained_cfg"])
        except (TypeError, ValueError) as error:
            raise ConfigError(
                f"{path}: {error}; set --config.preprocess.{field} yourself"
            ) from error
        if value is not None:
            fields[field] = value
    architecture = re.match(r"maxvit_([a-z]+)_tf_", str(config.get("architecture")))
    variant = architecture[1] if architecture else None
    return Expectation(variant, _resolution(config["pretrained_cfg"]), fields)


def _resolution(config: Mapping[str, Any]) -> int | None:
    """The side of square images; `input_size` is `[3, H, W]`."""
    match config.get("input_size"):
        case [_, int(height), int(width)] if height == width:
            return height
    return None


def _normalization(config: Mapping[str, Any]) -> str | None:
    if "mean" not in config or "std" not in config:
        return None
    found = [255 * float(x) for key in ("mean", "std") for x in config[key]]
    for style, (mean, std) in STYLES.items():
        wanted = [*mean, *std]
        close = [abs(a - b) < 0.01 for a, b in zip(found, wanted, strict=False)]
        if len(found) == len(wanted) and all(close):
            return style
    raise ConfigError(
        f"mean {config['mean']} and std {config['std']} are of no known normalization "
        f"({', '.join(STYLES)})"
    )


def _eval_crop(config: Mapping[str, Any]) -> str | None:
    if "crop_pct" not in config:
        return None
    share, mode = float(config["crop_pct"]), config.get("crop_mode") or "center"
    if mode == "center" and 0 < share <= 1:
        return str(share)
    if mode == "squash" and share == 1:
        return "squash"
    raise ConfigError(f"crop_mode {mode!r} with crop_pct {share} is not possible here")
