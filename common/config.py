"""Config arguments, defaults, validation, and the record a run keeps of itself.

An experiment is a Python file with `get_config(arg)`. It starts from `default()`,
changes what its paper changes, and is then locked: what `default()` and the file do
not name is not a field. `validate` checks types, ranges and choices before any
device is touched.
"""

from __future__ import annotations

import ast
import difflib
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import ml_collections
from ml_collections import config_dict

from common import atomic
from common.errors import ConfigError
from common.size import height_width


def default() -> ml_collections.ConfigDict:
    """Returns the fields every experiment has, with their defaults.

    Durations come in pairs `*_steps` and `*_epochs`; at most one of a pair is set.
    An epoch is one pass over the training examples. `model`, `data` and `augment`
    are extended by the packages' configs.
    """
    config = ml_collections.ConfigDict()
    config.task = ""
    config.seed = 0
    config.batch_size = 128  # over all devices and processes
    config.eval_batch_size = config_dict.placeholder(int)  # None: batch_size
    config.total_steps = config_dict.placeholder(int)
    config.total_epochs = config_dict.placeholder(float)
    config.grad_accumulation = 1
    config.dtype = "float32"  # of activations; parameters are float32
    config.ema_decay = 0.0  # 0: no moving average
    config.max_nonfinite_steps = 10  # so many in a row end the run

    config.log_every_steps = 50
    config.eval_every_steps = config_dict.placeholder(int)
    config.eval_every_epochs = config_dict.placeholder(float)
    config.checkpoint_every_steps = config_dict.placeholder(int)
    config.checkpoint_every_epochs = config_dict.placeholder(float)
    config.keep_last = 2
    config.keep_best = 1

    config.mesh = ml_collections.ConfigDict()
    config.mesh.data = -1  # -1: what fsdp leaves
    config.mesh.fsdp = 1  # devices over which large parameters are split
    config.mesh.fsdp_min_size = 2**18  # elements; smaller arrays are replicated

    config.optimizer = ml_collections.ConfigDict()
    config.optimizer.name = "adamw"
    config.optimizer.b1 = 0.9
    config.optimizer.b2 = 0.999
    config.optimizer.eps = 1e-8
    config.optimizer.momentum = 0.9  # sgd
    config.optimizer.nesterov = False  # sgd
    config.optimizer.weight_decay = 0.0
    config.optimizer.no_decay = ()  # regexes of parameter paths
    config.optimizer.lr_multipliers = ()  # pairs (regex, factor); 0 freezes
    config.optimizer.clip_norm = 0.0  # global norm; 0: no clipping

    config.schedule = ml_collections.ConfigDict()
    config.schedule.name = "cosine"
    config.schedule.peak = 1e-3
    config.schedule.final = 0.0
    config.schedule.warmup_steps = config_dict.placeholder(int)
    config.schedule.warmup_epochs = config_dict.placeholder(float)
    config.schedule.decay_rate = 0.1  # exponential: factor per staircase step
    config.schedule.decay_every_steps = config_dict.placeholder(int)
    config.schedule.decay_every_epochs = config_dict.placeholder(float)

    config.data = ml_collections.ConfigDict()
    config.data.source = "fake"
    config.data.name = ""
    config.data.pairs = False  # fake data: an image and its target, no labels
    config.data.dir = config_dict.placeholder(str)  # --data_dir wins
    config.data.train_split = "train"
    config.data.eval_split = "validation"
    config.data.label_field = "label"  # tfds: the feature that is the label
    config.data.split_seed = 0
    config.data.num_classes = config_dict.placeholder(int)  # None: as in the data
    # One side or (height, width), in files as in flags; `object` takes both.
    config.data.image_size = config_dict.FieldReference(224, field_type=object)
    config.data.num_workers = 0  # processes; 0: threads of this one
    config.data.max_bad_examples = 100

    # Weights of examples, see common.train.example_weights; off without a mode.
    config.reweighting = ml_collections.ConfigDict()
    config.reweighting.mode = ""
    config.reweighting.estimator = "self_normalized"
    config.reweighting.eta = 0.05  # rate, for each visit of an example
    config.reweighting.eta_decay = 1.0  # factor per epoch
    config.reweighting.warmup_steps = config_dict.placeholder(int)  # weights stay
    config.reweighting.warmup_epochs = config_dict.placeholder(float)
    config.reweighting.until_steps = config_dict.placeholder(int)  # and from here on
    config.reweighting.until_epochs = config_dict.placeholder(float)
    config.reweighting.loss = ""  # that moves the weights; "": the one of training
    config.reweighting.ema_decay = 0.0  # of each example's losses; 0: no average
    config.reweighting.clean_fraction = 0.0  # m / N of the cap 1 / m; 0: no cap
    config.reweighting.pull = 0.0  # towards equal weights, per epoch
    config.reweighting.share = 0.0  # of the whole that is spread evenly, per epoch
    config.reweighting.temperature = 1.0  # batch_local

    config.augment = ml_collections.ConfigDict()
    config.model = ml_collections.ConfigDict()
    config.reinitialize = ()  # regexes of what starts anew with --init_from
    return config


def shrink(config: ml_collections.ConfigDict) -> None:
    """Makes a run of seconds out of an experiment: what the `smoke` argument does.

    The data stays what it is; `--fake_data` replaces it.
    """
    config.dtype = "float32"
    config.batch_size = 16
    config.eval_batch_size = 16
    config.log_every_steps = 1
    config.data.num_workers = 0
    for name in _DURATIONS:
        section, _, field = name.rpartition(".")
        holder = config[section] if section else config
        holder[f"{field}_steps"] = holder[f"{field}_epochs"] = None
    config.total_steps = 2
    config.schedule.decay_every_steps = 1


def parse_arg(arg: str | None, **defaults: Any) -> ml_collections.ConfigDict:
    """Parses the text after the colon of `--config=file.py:T,image_size=384,smoke`.

    Args:
      arg: comma-separated `key=value` items. An item without `=` is the name of a
        boolean key, or else the value of the first key.
      **defaults: the allowed keys with their defaults, whose types the values take.

    Raises:
      ConfigError: unknown key, or a value of the wrong type.
    """
    values = dict(defaults)
    first = next(iter(defaults), None)
    for item in filter(None, (part.strip() for part in (arg or "").split(","))):
        key, equals, text = item.partition("=")
        if not equals:
            if isinstance(defaults.get(key), bool):
                text = "True"
            elif first is not None and not isinstance(defaults[first], bool):
                key, text = first, item
        if key not in defaults:
            raise ConfigError(unknown("config argument", key, defaults))
        values[key] = _convert(key, text, defaults[key])
    return ml_collections.ConfigDict(values)


def _convert(key: str, text: str, default: Any) -> Any:
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, float) and type(value) is int:
        value = float(value)
    if type(value) is not type(default):
        expected = type(default).__name__
        raise ConfigError(f"config argument {key}={text!r}: expected {expected}")
    return value


def unknown(what: str, name: str, choices: Iterable[str]) -> str:
    """Returns an error line for a name that is not among `choices`."""
    names = sorted(map(str, choices))
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    return f"unknown {what} {name!r}{hint} (choices: {', '.join(names) or 'none'})"


def check_sections(
    config: ml_collections.ConfigDict,
    defaults: ml_collections.ConfigDict,
    sections: Iterable[str],
) -> None:
    """Refuses fields of some sections that the defaults do not have.

    A config file can add fields before it is locked.

    Raises:
      ConfigError: naming the first.
    """
    for section in sections:
        for key in config[section]:
            if key not in defaults[section]:
                raise ConfigError(
                    unknown(f"config.{section} key", key, defaults[section])
                )


def unknown_key(path: str, config: ml_collections.ConfigDict) -> str:
    """Returns an error line for a config field that does not exist."""
    keys = list(flat(config))
    leaf = path.rsplit(".", 1)[-1]
    close = difflib.get_close_matches(path, keys, n=1, cutoff=0.6) or [
        key for key in keys if key.rsplit(".", 1)[-1] == leaf
    ]
    hint = f"; did you mean --config.{close[0]}?" if close else ""
    return f"unknown config key {path!r}{hint}"


def flat(config: ml_collections.ConfigDict, prefix: str = "") -> dict[str, Any]:
    """Returns `{"a.b": leaf}`."""
    leaves = {}
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            leaves.update(flat(value, f"{prefix}{key}."))
        else:
            leaves[prefix + key] = value
    return leaves


_POSITIVE = (
    "batch_size eval_batch_size grad_accumulation log_every_steps max_nonfinite_steps "
    "total_steps total_epochs eval_every_steps eval_every_epochs keep_last "
    "checkpoint_every_steps checkpoint_every_epochs optimizer.eps schedule.peak "
    "schedule.decay_rate schedule.decay_every_steps schedule.decay_every_epochs "
    "mesh.fsdp data.num_classes reweighting.eta_decay reweighting.temperature"
).split()
_NOT_NEGATIVE = (
    "keep_best optimizer.weight_decay optimizer.clip_norm schedule.final "
    "schedule.warmup_steps schedule.warmup_epochs data.num_workers "
    "data.max_bad_examples mesh.fsdp_min_size reweighting.eta "
    "reweighting.warmup_steps reweighting.warmup_epochs reweighting.until_steps "
    "reweighting.until_epochs"
).split()
_FRACTION = (
    "ema_decay optimizer.b1 optimizer.b2 optimizer.momentum reweighting.ema_decay "
    "reweighting.share"
).split()
_SHARE = "reweighting.clean_fraction reweighting.pull".split()
_RANGES: Sequence[tuple[Sequence[str], str, Callable[[float], bool]]] = (
    (_POSITIVE, "greater than 0", lambda value: value > 0),
    (_NOT_NEGATIVE, "at least 0", lambda value: value >= 0),
    (_FRACTION, "in [0, 1)", lambda value: 0 <= value < 1),
    (_SHARE, "in [0, 1]", lambda value: 0 <= value <= 1),
)
_CHOICES = {
    "dtype": ("float32", "bfloat16"),
    "optimizer.name": ("adamw", "adam", "sgd"),
    "schedule.name": ("cosine", "linear", "constant", "exponential"),
    # Those of `common.train.example_weights`, which a test compares.
    "reweighting.mode": (
        *("", "full", "deferred", "mass_preserving", "unnormalized"),
        *("batch_local", "small_loss"),
    ),
    "reweighting.estimator": ("self_normalized", "horvitz_thompson", "sampling"),
}
_DURATIONS = (
    "total eval_every checkpoint_every schedule.warmup schedule.decay_every "
    "reweighting.warmup reweighting.until"
).split()


def validate(config: ml_collections.ConfigDict, tasks: Iterable[str]) -> None:
    """Checks what needs neither data nor devices.

    Raises:
      ConfigError: with one line that names the field, its value, and what is allowed.
    """
    if config.task not in tasks:
        raise ConfigError(unknown("task", config.task, tasks))
    _check_keys(config)
    leaves = flat(config)
    for names, allowed, holds in _RANGES:
        for name in names:
            value = leaves[name]
            if value is not None and not (math.isfinite(value) and holds(value)):
                raise ConfigError(f"config.{name}={value} must be {allowed}")
    height_width(config.data.image_size, "config.data.image_size")
    if not 0 <= config.seed < 2**32:
        raise ConfigError(f"config.seed={config.seed} must be in [0, 2**32)")
    for name, choices in _CHOICES.items():
        if leaves[name] not in choices:
            raise ConfigError(unknown(f"config.{name}", str(leaves[name]), choices))
    for name in _DURATIONS:
        check_duration(leaves, name)
    if leaves["total_steps"] is None and leaves["total_epochs"] is None:
        raise ConfigError("one of config.total_steps and config.total_epochs is needed")
    if config.batch_size % config.grad_accumulation:
        raise ConfigError(
            f"config.batch_size={config.batch_size} is not divisible by "
            f"config.grad_accumulation={config.grad_accumulation}"
        )


def check_duration(leaves: Mapping[str, Any], name: str) -> None:
    """Refuses a duration that is given both in steps and in epochs."""
    if None not in (leaves[f"{name}_steps"], leaves[f"{name}_epochs"]):
        raise ConfigError(f"config.{name}_steps and config.{name}_epochs exclude")


def _check_keys(config: ml_collections.ConfigDict) -> None:
    """Refuses fields that nothing reads: a misspelled one would do nothing."""
    base = default()
    for key in config:
        if key not in base and not isinstance(config[key], ml_collections.ConfigDict):
            raise ConfigError(unknown_key(key, base))
    for section in ("mesh", "optimizer", "schedule", "data", "reweighting"):
        for key in config[section]:
            if key not in base[section]:
                raise ConfigError(unknown_key(f"{section}.{key}", base))


def save(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike[str],
    overrides: Mapping[str, Any],
) -> None:
    """Writes `config.json`, `overrides.json` and `versions.json` into `workdir`."""
    workdir = Path(workdir)
    write_json(workdir / "config.json", config.to_dict())
    write_json(workdir / "overrides.json", dict(overrides))
    write_json(workdir / "versions.json", versions())


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes JSON so that a reader sees the old file or the new one, never half."""
    with atomic.replacing(path) as temporary:
        text = json.dumps(value, indent=2, sort_keys=True, default=str)
        temporary.write_text(text + "\n", encoding="utf-8")


def load(workdir: str | os.PathLike[str]) -> ml_collections.ConfigDict | None:
    """Returns the config a run saved in `workdir`, or None when there is none.

    Raises:
      ConfigError: the file is not the JSON of a config.
    """
    path = Path(workdir) / "config.json"
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        return _from_dict(values, default())
    except (ValueError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is not a saved config: {error}") from error


def _from_dict(
    values: Mapping[str, Any], base: ml_collections.ConfigDict | None
) -> ml_collections.ConfigDict:
    """Undoes what JSON does to a config: lists are tuples, null is a placeholder."""
    config = ml_collections.ConfigDict() if base is None else base
    for key, value in values.items():
        if isinstance(value, Mapping):
            inner = config.get(key) if base is not None else None
            config[key] = _from_dict(value, inner)
        elif value is not None or key not in config:
            config[key] = _tuples(value)
    return config


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def changes(
    old: ml_collections.ConfigDict, new: ml_collections.ConfigDict
) -> list[str]:
    """Returns lines `key: old -> new` for every leaf that differs."""
    before, after = (
        {key: _tuples(value) for key, value in flat(config).items()}
        for config in (old, new)
    )
    missing = object()
    return [
        f"{key}: {before.get(key)!r} -> {after.get(key)!r}"
        for key in sorted(before.keys() | after.keys())
        if before.get(key, missing) != after.get(key, missing)
    ]


def versions() -> dict[str, str]:
    """Returns the versions of what can change a result."""
    import platform

    packages = "jax jaxlib flax optax orbax-checkpoint grain numpy pillow".split()
    found = {name: metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}
