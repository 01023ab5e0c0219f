"""TensorFlow Datasets prepared as ArrayRecord, read without TensorFlow."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np

from common.config import unknown
from common.errors import ConfigError, DataError

DEFAULT_DIR = "~/tensorflow_datasets"


class TfdsSource:
    """A split of a prepared TFDS data set with an `image` and maybe a `label`.

    Images stay encoded; `common.data.decode` decodes them. Nothing is downloaded
    and nothing is prepared here.
    """

    def __init__(
        self,
        name: str,
        split: str,
        data_dir: str | os.PathLike[str] | None = None,
        label_field: str = "label",
    ):
        """Opens the data.

        Args:
          name: `dataset`, `dataset/config`, with `:version` to fix the version;
            without it the highest prepared version is used.
          split: TFDS split, such as `"train"` or `"train[:90%]"`.
          data_dir: the TFDS folder; else `TFDS_DATA_DIR`, else
            `~/tensorflow_datasets`.
          label_field: feature that is the label, such as "worse_label" of cifar10_n.
            Data without "label" has none; any other name must be there.

        Raises:
          ConfigError: no name, or a split or label the data does not have.
          DataError: data missing, or prepared in a format without random access.
        """
        if not name:
            raise ConfigError("source 'tfds' needs the name of a data set")
        import tensorflow_datasets as tfds

        root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or DEFAULT_DIR)
        root = root.expanduser()
        builder = tfds.builder_from_directory(_find(name, root))
        info = builder.info
        formats = info.available_file_formats()
        if not formats & tfds.core.FileFormat.with_random_access():
            found = ", ".join(sorted(f.value for f in formats))
            raise DataError(
                f"{builder.data_dir} is prepared as {found}, which has no random "
                f"access; {_how_to_prepare(name, root)}"
            )
        if "image" not in info.features:
            features = ", ".join(info.features)
            raise DataError(f"{name} has no 'image' feature (features: {features})")
        try:
            self._data: Any = builder.as_data_source(
                split=split, decoders={"image": tfds.decode.SkipDecoding()}
            )
        except ValueError as error:
            splits = ", ".join(info.splits)
            raise ConfigError(
                f"{name} has no split {split!r} (splits: {splits})"
            ) from error
        labels = [key for key, f in info.features.items() if _is_label(f)]
        given = label_field != "label" or "label" in info.features
        if given and label_field not in labels:
            raise ConfigError(unknown("config.data.label_field", label_field, labels))
        self._label = label_field if given else None
        label = info.features[self._label] if self._label else None
        self.class_names = tuple(getattr(label, "names", ()))
        self._prefix = f"{name}/{split}"

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns the encoded image and, when there is one, its label."""
        record = self._data[index]
        example = {
            "image": record["image"],
            "id": index,
            "name": f"{self._prefix}[{index}]",
        }
        if self._label:
            example["label"] = int(record[self._label])
        return example


def _is_label(feature: Any) -> bool:
    """Tells whether a feature is one whole number or bool, and so can be a label."""
    return feature.shape == () and np.dtype(feature.np_dtype).kind in "iub"


def _find(name: str, root: Path) -> Path:
    """Returns the version folder of a data set, without asking TFDS's registry.

    The registry may want metadata from the network, and does not know data sets
    that were prepared by somebody's own builder.
    """
    path, _, version = name.partition(":")
    base = root / path
    versions = {
        entry.name: entry
        for entry in (base.iterdir() if base.is_dir() else ())
        if (entry / "dataset_info.json").is_file()
    }
    if version and version in versions:
        return versions[version]
    if versions and not version:
        return versions[max(versions, key=_version_key)]
    found = sorted(entry.name for entry in base.iterdir()) if base.is_dir() else []
    wanted = f"version {version!r}" if version else "prepared version"
    raise DataError(
        f"no {wanted} of {path!r} in {base} (found: {', '.join(found) or 'nothing'}); "
        + _how_to_prepare(name, root)
    )


def _version_key(version: str) -> tuple[int, ...]:
    parts = version.split(".")
    return tuple(int(part) if part.isdigit() else -1 for part in parts)


def _how_to_prepare(name: str, root: Path) -> str:
    return (
        'prepare it with: python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name}', data_dir='{root}', file_format='array_record')"
        '.download_and_prepare()"'
    )
