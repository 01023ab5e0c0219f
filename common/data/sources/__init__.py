"""Where examples come from: one random-access interface over every kind of data."""

from __future__ import annotations

import os
from typing import Any, Protocol

import ml_collections

from common.config import unknown
from common.errors import ConfigError

SOURCES = ("tfds", "folder", "paired", "images", "bundled", "fake")
SPLITS = ("train", "eval")


class Source(Protocol):
    """Random access to examples; index order never changes between runs.

    An example is a dict with `"image"` (encoded bytes, a path `str`, or a uint8
    array `[H, W]` or `[H, W, 3]`), `"id"` (its index), `"name"` (for messages) and,
    for classified data, `"label"` (an index into `class_names`). Paired data has a
    `"target"`, of the same kinds as the image and of its size.
    """

    class_names: tuple[str, ...]

    def __len__(self) -> int:
        """Returns the number of examples."""
        ...

    def __getitem__(self, index: int) -> dict[str, Any]:
        """Returns example `index`, which is in `[0, len(self))`."""
        ...


def open_source(
    config: ml_collections.ConfigDict,
    split: str,
    data_dir: str | os.PathLike[str] | None = None,
) -> Source:
    """Opens the source a config names.

    Args:
      config: the `data` part of an experiment: `source`, `name`, `train_split`,
        `eval_split`, `label_field`, `num_classes`, `image_size`, `split_seed`,
        `pairs`.
      split: `"train"` or `"eval"`.
      data_dir: folder of the data, for the sources that read one.

    Raises:
      ConfigError: unknown source, split or bundled set.
      DataError: the data is missing or of the wrong format; the message names what
        was searched.
    """
    if split not in SPLITS:
        raise ConfigError(unknown("split", split, SPLITS))
    # Imported on demand: a run pays only for the source it uses.
    match config.source:
        case "tfds":
            from common.data.sources import tfds_source

            name = config.train_split if split == "train" else config.eval_split
            field = config.label_field
            return tfds_source.TfdsSource(config.name, name, data_dir, field)
        case "folder":
            from common.data.sources import folder

            return folder.FolderSource(
                data_dir,
                split,
                train_split=config.train_split,
                eval_split=config.eval_split,
                split_seed=config.split_seed,
            )
        case "paired" | "images" as kind:
            from common.data.sources import images, paired

            opened = paired.PairedSource if kind == "paired" else images.ImagesSource
            return opened(
                data_dir,
                split,
                train_split=config.train_split,
                eval_split=config.eval_split,
                split_seed=config.split_seed,
            )
        case "bundled":
            from common.data.sources import bundled

            return bundled.open_bundled(config.name, split, config.split_seed)
        case "fake":
            from common.data.sources import fake

            if config.pairs:
                return fake.FakePairs(split, image_size=config.image_size)
            return fake.FakeSource(
                split,
                image_size=config.image_size,
                num_classes=config.num_classes or fake.NUM_CLASSES,
            )
    raise ConfigError(unknown("data source", str(config.source), SOURCES))
