"""Weights of Keras' networks, `.h5` of old or `.weights.h5` of Keras 3, by our names.

Keras itself assigns them, into a model without values, since older files have other
names of layers and only their order counts. Nothing in these files can run code.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common.checkpoint import matching
from common.errors import ConfigError, DataError
from common.models import keras_graph, named_arrays

_SUFFIXES = (".h5", ".hdf5")
# Of arrays with Keras' names and layout, which are ours too.
_PLAIN = (".safetensors", ".npz")
_LAYOUT = named_arrays.Layout(lambda shape: shape, named_arrays.same, width=-1)
# A file may announce much more than it holds; the largest network has 96 MB.
_MAX_BYTES = 2**30
# What Keras keeps of training in a file of a whole model.
_TRAINING = ("optimizer", "_optimizer")
# ImageNet's channels. EfficientNet's files have the mean and, as the variance, the
# deviation, whose root a further layer without weights makes up for.
_NORMALIZATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def read(
    init_from: str | os.PathLike[str], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Reads weights of a network of `common.models.keras_graph`.

    Args:
      init_from: a file of Keras, with or without the classifier; or a `.safetensors`
        or `.npz` file with names as "Conv1/kernel" or "params/Conv1/kernel".
      variables: of the backbone, nested, abstract or not.

    Returns:
      Flat names as in `variables` to arrays. The classifier is left out where the
      file or the backbone has none; where they differ in classes it is as in the file.

    Raises:
      ConfigError: the file is broken or holds another network.
      DataError: there is no such file.
    """
    path = Path(init_from)
    if path.suffix in _PLAIN:
        return _read_plain(path, variables)
    if path.suffix not in _SUFFIXES:
        raise ConfigError(
            f"weights of Keras are read from {', '.join((*_SUFFIXES, *_PLAIN))} files, "
            f"given {path}; model.save_weights('NAME.weights.h5') writes one"
        )
    if not path.is_file():
        raise DataError(f"no weight file {path} (looked in {path.absolute().parent})")
    wanted = dict(matching.leaves(variables))
    variant = _variant(wanted)
    arrays = _assigned(path, variant)
    _check_input(path, arrays)
    found = {name: array for name, array in _named(arrays) if name in wanted}
    matching.check_finite(str(path), found)
    return found


def _read_plain(path: Path, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
    known = {name: [name.split("/", 1)[1]] for name, _ in matching.leaves(variables)}
    classifier = "params/predictions/"
    return named_arrays.read([path], known, variables, _LAYOUT, classifier)


def _variant(wanted: Mapping[str, Any]) -> str:
    """Returns the network that has these names."""
    for variant, network in keras_graph.NETWORKS.items():
        if f"params/{network.first}/kernel" in wanted:
            return variant
    raise ConfigError(
        f"the variables are of none of {', '.join(keras_graph.NETWORKS)}: "
        f"{', '.join(list(wanted)[:3])}"
    )


def _assigned(path: Path, variant: str) -> dict[str, np.ndarray]:
    """Returns arrays by Keras' names, "Conv1/kernel", all of them of known shapes."""
    keras = keras_graph.library()
    try:
        model = keras_graph.original(variant, _classes(path))
    except OSError as error:
        raise ConfigError(f"{path} is truncated or broken: {error}") from error
    try:
        with warnings.catch_warnings(), keras.StatelessScope() as scope:
            # It warns of what a file lacks, which is refused below.
            warnings.simplefilter("ignore")
            model.load_weights(path)
    except (ValueError, KeyError, TypeError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ConfigError(f"{path} holds no weights of {variant}: {reason}") from error
    values = {
        f"{layer.name}/{variable.name}": scope.get_current_value(variable)
        for layer in model.layers
        for variable in layer.weights
    }
    missing = [name for name, value in values.items() if value is None]
    if missing:
        raise ConfigError(f"{path} has no {', '.join(missing[:3])} of {variant}")
    return {name: np.asarray(value) for name, value in values.items()}


def _classes(path: Path) -> int:
    """Returns the width of the classifier in a file, the one matrix in it, or 0."""
    import h5py

    arrays: dict[str, Any] = {}

    def note(name: str, node: Any) -> None:
        if isinstance(node, h5py.Dataset) and not name.startswith(_TRAINING):
            arrays[name] = node.shape, node.dtype

    with h5py.File(path, "r") as file:
        file.visititems(note)
    size = 0
    for name, (shape, dtype) in arrays.items():
        if shape is None or dtype.kind not in "fiu":
            raise ConfigError(f"{path}: {name} holds {dtype}, expected numbers")
        size += int(np.prod(shape, dtype=object)) * dtype.itemsize
    if size > _MAX_BYTES:
        raise ConfigError(
            f"{path}: {size} bytes of arrays, more than the limit of {_MAX_BYTES}"
        )
    return max((shape[1] for shape, _ in arrays.values() if len(shape) == 2), default=0)


def _check_input(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """A network that normalises must do so with the numbers that we use before it."""
    expected, deviation = _NORMALIZATION
    for name, variance in arrays.items():
        if not name.endswith("/variance"):
            continue
        mean = arrays[name.removesuffix("variance") + "mean"]
        variances = (deviation, np.square(deviation))
        known = any(np.allclose(variance, v, rtol=1e-3) for v in variances)
        if not (known and np.allclose(mean, expected, rtol=1e-3)):
            raise ConfigError(
                f"{path}: its layer {name.split('/')[0]!r} has mean {mean.tolist()} "
                f"and variance {variance.tolist()}, so these weights were trained on "
                "other images than those that ImageNet's mean and deviation normalise"
            )


def _named(arrays: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    for name, array in arrays.items():
        statistic = name.rsplit("/", 1)[-1] in keras_graph.STATISTICS
        yield f"{'batch_stats' if statistic else 'params'}/{name}", array
