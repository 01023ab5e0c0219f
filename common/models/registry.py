"""Names of networks that other papers can use: papers never import each other.

A name stands for an import string, which is resolved when the network is asked for, so
that nothing is imported for the others.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from common.config import unknown
from common.errors import ConfigError

if TYPE_CHECKING:
    from common.classification import Classification

# Name -> "module:Class" of a task. Its variants are its configs.
CLASSIFIERS = {"maxvit": "maxvit.tasks:Classification"}


def find(name: str) -> type[Classification]:
    """Returns the task of a classifier.

    Args:
      name: a key of `CLASSIFIERS`.

    Raises:
      ConfigError: there is none of this name.
    """
    if name not in CLASSIFIERS:
        raise ConfigError(unknown("classifier", name, CLASSIFIERS))
    module, attribute = CLASSIFIERS[name].split(":")
    return getattr(importlib.import_module(module), attribute)
