"""From what a user names to arrays under our names, whoever wrote the file."""

import re
from pathlib import Path

import numpy as np
from absl import logging

from common.checkpoint import matching, weights
from common.errors import ConfigError, DataError
from maxvit.convert import hub, published, tensorflow, timm, torchvision

HUB_WEIGHTS = "model.safetensors"
_PICKLES = (".pth", ".pt", ".bin", ".pkl", ".ckpt", ".tar")


def load(init_from: str) -> dict[str, np.ndarray]:
    """Reads weights of ours, of timm or of the official TensorFlow code.

    Args:
      init_from: a `.safetensors` or `.npz` file, a folder with `model.safetensors` or
        the folder of a run; `timm:` before it changes nothing. Or `timm:NAME` of
        `published.PUBLISHED`, which is downloaded.

    Returns:
      Flat names of ours, such as "params/stem/conv1/kernel", to arrays.

    Raises:
      ConfigError: the file is broken, was changed since its hash was taken, or holds
        no MaxViT that can be converted.
      DataError: there is nothing to read.
    """
    name = published.name_of(init_from)
    if name is None:
        path = find(published.path_of(init_from))
    else:
        path = hub.fetch(name, HUB_WEIGHTS)
    digest = hub.digest(path)
    if name is not None and digest is None:
        logging.warning(
            "%s is no link to a content called by its hash, so it cannot be checked",
            path,
        )
    arrays = weights.load(path, digest)
    return _to_ours(init_from, arrays)


def find(path: Path) -> Path:
    """Finds the weight file that a path means.

    Raises:
      ConfigError: it is a pickle or a TensorFlow checkpoint.
      DataError: nothing is there.
    """
    _refuse(path)
    try:
        return weights.find(path)
    except DataError as error:
        if (path / HUB_WEIGHTS).is_file():
            return path / HUB_WEIGHTS
        if path.is_dir():
            raise DataError(f"{error}, {path / HUB_WEIGHTS}") from None
        if str(path) in published.PUBLISHED:
            hint = f"did you mean {published.SCHEME}{path}?"
            raise DataError(f"{error}; {hint}") from None
        raise


def _refuse(path: Path) -> None:
    """Says how to get a safe file out of formats that are not read here."""
    parts = re.fullmatch(r"(.+)\.(index|data-\d+-of-\d+)", str(path))
    if parts or Path(f"{path}.index").exists():
        raise ConfigError(
            f"{path} is a TensorFlow checkpoint; where TensorFlow is installed, run: "
            "python -m maxvit.convert.dump_tensorflow "
            f"{parts[1] if parts else path} weights.npz"
        )
    if path.suffix in _PICKLES:
        raise ConfigError(
            f"{path} is a pickle, which can run code and is not read; where PyTorch is "
            "installed, save its tensors: import torch, safetensors.torch; "
            f"state = torch.load({str(path)!r}, weights_only=True); "
            "safetensors.torch.save_file({k: v.contiguous() for k, v in state.items()}"
            f", {str(path.with_suffix('.safetensors'))!r})"
        )


def _to_ours(where: str, arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Recognises whose names they are, and converts."""
    if any(name.startswith("params/") for name in arrays):
        return arrays
    if torchvision.is_torchvision(arrays):
        torchvision.from_torchvision(arrays)
    if any(name.startswith("stages.") for name in arrays):
        variables, whose = timm.from_timm(arrays), "timm"
    elif any(re.search(r"(^|/)block_\d\d_\d\d/", name) for name in arrays):
        variables, whose = tensorflow.from_tensorflow(arrays), "the official code"
    else:
        shown = ", ".join(list(arrays)[:4]) or "none"
        raise ConfigError(
            f"{where} holds no weights of a MaxViT; names such as "
            "'params/stem/conv1/kernel' (ours), 'stages.0.blocks.0.conv.norm1.weight' "
            "(timm) or 'maxvit/block_00_00/mbconv/expand_conv/kernel' (official) were "
            f"expected, got {shown}"
        )
    logging.info("%s: %d arrays under the names of %s", where, len(arrays), whose)
    return dict(matching.leaves(variables))
