"""`config.data.source` of tasks that learn preferences."""

from __future__ import annotations

import ml_collections

from common import config as configs
from common.errors import ConfigError
from iqa import ciqa, pair_datasets, preference_demo
from iqa.pairs import PairSource

SOURCES = (
    *("ciqa", "bapps", "pieapp", "tid2013", "kadid10k"),
    *("preference_photos", "fake"),
)


def open_source(
    data: ml_collections.ConfigDict, split: str, data_dir: str | None
) -> PairSource:
    """Opens pairs with preferences.

    Args:
      data: the `data` section: `source` is one of `SOURCES`; `train_split` and
        `eval_split` are names of the data's own splits; `name` says which encoders
        made "preference_photos". TID2013 and KADID-10k have no splits.
      split: "train" or "eval".
      data_dir: of those that have one.

    Raises:
      ConfigError: unknown source.
      DataError: the data is missing or wrong.
    """
    name = data.train_split if split == "train" else data.eval_split
    match data.source:
        case "ciqa":
            return PairSource(ciqa.open_pairs(data_dir, name, data.split_seed))
        case "bapps":
            return PairSource(pair_datasets.bapps(data_dir, name))
        case "pieapp":
            return PairSource(pair_datasets.pieapp(data_dir, name))
        case "tid2013":
            return PairSource(pair_datasets.tid2013(data_dir))
        case "kadid10k":
            return PairSource(pair_datasets.kadid10k(data_dir))
        case "preference_photos":
            return preference_demo.preference_photos(
                split, data.name or "three", data.split_seed
            )
        case "fake":
            return preference_demo.FakePreferences(split, data.image_size)
    raise ConfigError(configs.unknown("data source", str(data.source), SOURCES))
