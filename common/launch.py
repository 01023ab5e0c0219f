"""One launcher for all papers: flags, runtime, multi-host start, exit codes.

Exit codes: 0 done, 1 a bug (with traceback), 2 a flag, config or data error (one
line), 75 preempted and saved (run the same command again), 76 diverged.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import logging as std_logging
import os
import re
import sys
import tempfile
import traceback
import types
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import ml_collections
from absl import app, flags, logging
from ml_collections import config_flags
from ml_collections.config_flags.config_flags import ConfigFileFlagParser

from common import config as configs
from common.errors import ConfigError, DataError, Diverged, Preempted
from common.runtime import setup_runtime

if TYPE_CHECKING:
    from common.task import Task

EXIT_CONFIG, EXIT_PREEMPTED, EXIT_DIVERGED = 2, 75, 76
MODES = ("train", "eval", "predict", "export", "benchmark", "plan")
# They write nothing, or, in training, later: all processes of a run check it there.
_LOOK_ONLY = ("train", "predict", "benchmark")
_ROOT = Path(__file__).resolve().parent.parent

FLAGS = flags.FLAGS
_CONFIG = config_flags.DEFINE_config_file(
    "config",
    None,
    "Experiment file, e.g. configs/maxvit/digits.py or "
    "configs/maxvit/imagenet1k.py:T. Override a field with --config.field=value. "
    "May be left out when --workdir holds a finished run.",
    lock_config=True,
)
_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Directory of the run; the same command again resumes it."
)
_MODE = flags.DEFINE_string("mode", "train", f"What to do: {', '.join(MODES)}.")
_DATA_DIR = flags.DEFINE_string("data_dir", None, "Where the data is.")
_INIT_FROM = flags.DEFINE_string(
    "init_from",
    None,
    "Weights to start from: .safetensors, .npz, a run's workdir, or a published name "
    "where the package knows some, e.g. timm:maxvit_tiny_tf_224.in1k.",
)
_IMAGE = flags.DEFINE_multi_string(
    "image", [], "Image file for --mode=predict; more may follow it."
)
_DEVICES = flags.DEFINE_integer(
    "devices", None, "Number of devices for --mode=plan.", lower_bound=1
)
_MESH = flags.DEFINE_string(
    "mesh", None, "Their mesh in place of the config's, e.g. data:64,fsdp:4."
)
_FAKE_DATA = flags.DEFINE_bool("fake_data", False, "Train on generated images.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run",
    False,
    "Print parameters, FLOPs, compiled memory and shardings; train nothing.",
)
_RESUME = flags.DEFINE_bool(
    "resume", True, "Resume from --workdir; --noresume refuses one with checkpoints."
)
_STOP_AFTER = flags.DEFINE_integer(
    "stop_after_steps", None, "Save and stop after this step.", lower_bound=1
)
_PROFILE = flags.DEFINE_string(
    "profile_steps", None, "Steps to trace, e.g. 10:15; written to WORKDIR/profile."
)
_DEBUG_NANS = flags.DEFINE_bool(
    "debug_nans", False, "Stop at the operation that makes the first NaN (slow)."
)
_COORDINATOR = flags.DEFINE_string(
    "coordinator_address", None, "host:port of process 0 of a multi-process run."
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "Number of processes.", lower_bound=1
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "Number of this process, from 0.", lower_bound=0
)


@dataclasses.dataclass(frozen=True)
class _Package:
    """What a package hands to `run`, see there."""

    name: str
    summary: str
    tasks: Mapping[str, str] = dataclasses.field(default_factory=dict)
    modes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    experiments: Mapping[str, tuple[str, str]] = dataclasses.field(default_factory=dict)
    predict: str | None = None
    flags: str | None = None
    presets: str | None = None

    def given(self) -> list[str]:
        """Returns which of its own flags are on the command line."""
        own = FLAGS.get_key_flags_for_module(self.flags) if self.flags else []
        return [f"--{flag.name}" for flag in own if flag.present]

    def readers(self) -> Mapping[str, str]:
        """Returns the modes that read its own flags, and how they are called."""
        module = importlib.import_module(self.flags) if self.flags else None
        return getattr(module, "MODES", {"predict": ""})


def run(
    *,
    package: str,
    summary: str,
    tasks: Mapping[str, str],
    modes: Mapping[str, str] = types.MappingProxyType({}),
    experiments: Mapping[str, tuple[str, str]] = types.MappingProxyType({}),
    predict: str | None = None,
    flags: str | None = None,
    presets: str | None = None,
) -> NoReturn:
    """Parses the command line, does what it says, and ends the process.

    Args:
      package: name of the paper's package, for the help.
      summary: one line about it.
      tasks: name in `config.task` -> "module:Class" of a `common.task.Task`.
      modes: further values of `--mode` -> "module:function", which takes the workdir
        or None, needs no config, and returns what is printed.
      experiments: further values of `--mode` that run one or more experiments: name ->
        "module:function", which takes the task, the config, the workdir and
        `--data_dir` or None, and returns what is printed; and the config file that
        counts when none is given.
      predict: "module:function" in place of `common.modes.predict`; takes the task,
        the config, the workdir and `--init_from`, of which one may be None.
      flags: module that defines further flags; light to import. Only `predict` reads
        them, unless its `MODES` names the modes that do: name -> the words of a call,
        for the help.
      presets: "module:function" from the value of `--task`, one of those flags, to
        the config file with its argument, and to what `--init_from` would be.
    """
    if flags is not None:
        importlib.import_module(flags)
    given = _Package(
        package, summary, tasks, modes, experiments, predict, flags, presets
    )
    app.run(
        functools.partial(_main, given),
        flags_parser=functools.partial(_parse, given),
    )
    raise AssertionError("app.run does not return")


def _parse(package: _Package, argv: Sequence[str]) -> list[str]:
    """Parses flags; any mistake is one line and exit code 2."""
    if {"--help", "-h", "--helpfull", "--helpshort", "-help"} & set(argv[1:]):
        sys.stdout.write(_help(package))
        sys.exit(0)
    try:
        rest = FLAGS(argv)
        if _CONFIG.value is not None:
            _check_file(package.name, config_flags.get_config_filename(FLAGS["config"]))
        return rest
    except Exception as error:  # A config file is code, and can raise anything.
        _fail(_explain_override(package, argv) or _explain(error))


def _explain(error: Exception) -> str:
    """Says in one line what went wrong, and where in the user's file.

    ml_collections raises some errors as they are and puts the traceback of others
    into its message.
    """
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if lines[-1].startswith("common.errors.ConfigError: "):
        return lines[-1].removeprefix("common.errors.ConfigError: ")
    if isinstance(error, flags.Error) and "Traceback" not in str(error):
        return " ".join(lines)
    text = "".join(traceback.format_exception(error)) + str(error)
    places = [
        f"{file}:{line}"
        for file, line in re.findall(r'File "([^"]+)", line (\d+)', text)
        if "site-packages" not in file and file != __file__
    ]
    return lines[-1] + (f" ({places[-1]})" if places else "")


def _fail(message: str) -> NoReturn:
    sys.stderr.write(f"error: {' '.join(message.split())}\n")
    sys.exit(EXIT_CONFIG)


def _check_file(package: str, name: str) -> None:
    """Refuses a file that does not exist, which ml_collections does at first use."""
    path = Path(name.partition(":")[0])
    if not path.is_file():
        raise ConfigError(configs.unknown("config file", str(path), _files(package)))


def _files(package: str) -> list[str]:
    found = sorted((_ROOT / "configs" / package).glob("[a-z]*.py"))
    return [f"configs/{package}/{path.name}" for path in found]


def _explain_override(package: _Package, argv: Sequence[str]) -> str | None:
    """Finds the override whose field does not exist, and the closest one that does."""
    words = " ".join(argv)
    file = re.search(r"--?config[= ](\S+)", words)
    names = re.findall(r"--?(?:no)?config\.([\w.]+)", words)
    if names and file is None:
        files = ", ".join(_files(package.name))
        given = f"--config.{names[0]} changes a config"
        return f"{given}: give --config, too, as of {files}"
    try:
        config: Any = ConfigFileFlagParser("config").parse(file[1] if file else None)
    except Exception:
        return None  # the file itself is broken
    for name in names:
        if name not in configs.flat(config):
            return configs.unknown_key(name, config)
    return None


def _help(package: _Package) -> str:
    experiments = "\n".join(f"  {file}" for file in _files(package.name))
    command = f"python -m {package.name}.main"
    predict = f"{command} --mode=predict --workdir=DIR --image=FILE [FILE ...]"
    if package.predict:
        predict = f"{command} --mode=predict --workdir=DIR --input=DIR --output=DIR"
    if package.presets:
        predict += f"\n  {command} --mode=predict --task=NAME --input=DIR --output=DIR"
    own_modes = (*package.modes, *package.experiments)
    readers = package.readers()
    calls = ((mode, readers.get(mode) or "[--workdir=DIR]") for mode in own_modes)
    own = "".join(f"\n  {command} --mode={m} {words}" for m, words in calls)
    further = FLAGS.module_help(sys.modules[package.flags]) if package.flags else ""
    return f"""{package.summary}

usage:
  {command} --config=FILE[:ARGS] --workdir=DIR [--config.FIELD=VALUE ...]
  {command} --mode=eval --workdir=DIR
  {predict}
  {command} --mode=export --workdir=DIR
  {command} --config=FILE --dry_run
  {command} --mode=plan --config=FILE --devices=N --mesh=data:D,fsdp:F{own}

experiments (each file's first lines say what it needs):
{experiments}

flags:
{FLAGS.module_help(sys.modules[__name__])}{further}
exit codes: 0 done, 1 bug, 2 flag, config or data error, 75 preempted and saved
(run the same command again), 76 diverged.
"""


def _main(package: _Package, argv: Sequence[str]) -> int:
    try:
        _check_mode(package, argv[1:])
        setup_logging(package.name)
        if _MODE.value in package.modes:
            workdir = _workdir()
            sys.stdout.write(_find(package.modes[_MODE.value])(workdir) + "\n")
        else:
            _dispatch(package, argv[1:])
    except ConfigError as error:
        sys.stderr.write(f"error: {' '.join(str(error).split())}\n")
        return EXIT_CONFIG
    except Preempted as error:
        logging.warning("%s; run the same command again to go on", error)
        return EXIT_PREEMPTED
    except Diverged as error:
        sys.stderr.write(f"diverged: {error}\n")
        return EXIT_DIVERGED
    return 0


def _check_mode(package: _Package, rest: Sequence[str]) -> None:
    """Checks the mode and the flags that only some modes have."""
    mode, modes = _MODE.value, package.modes
    known = (*MODES, *modes, *package.experiments)
    if mode not in known:
        raise ConfigError(configs.unknown("mode", mode, known))
    images = (*_IMAGE.value, *rest)
    if images and mode != "predict":
        raise ConfigError(f"{images[0]!r} is given, but --mode is {mode}")
    if images and package.predict:
        raise ConfigError(f"{images[0]!r}: images are given with --input here")
    plan = [f"--{flag.name}" for flag in (_DEVICES, _MESH) if flag.value]
    _check_only(("plan",), plan)
    _check_only(package.readers(), package.given())
    if mode in modes and _CONFIG.value is not None:
        raise ConfigError(f"--mode={mode} takes no --config")
    if _DRY_RUN.value and mode in ("plan", *modes, *package.experiments):
        raise ConfigError(f"--mode={mode} takes no --dry_run")
    if mode == "plan" and _DEVICES.value is None:
        raise ConfigError("--mode=plan needs --devices=N")


def _check_only(modes: Collection[str], given: Sequence[str]) -> None:
    """Refuses flags of some modes in another."""
    if given and _MODE.value not in modes:
        raise ConfigError(
            f"{' and '.join(given)} can be given with "
            f"{' or '.join(f'--mode={mode}' for mode in modes)}, --mode is "
            f"{_MODE.value}"
        )


def _find(name: str) -> Any:
    """Imports what "module:attribute" names."""
    module, attribute = name.split(":")
    return getattr(importlib.import_module(module), attribute)


def _workdir() -> str | None:
    workdir = _path(_WORKDIR.value)
    if workdir and "://" in workdir:
        raise ConfigError(
            f"--workdir={workdir}: give a path; mount a bucket with gcsfuse or the like"
        )
    if workdir and not _DRY_RUN.value and _MODE.value not in _LOOK_ONLY:
        _check_writable(workdir)
    return workdir


def _check_writable(workdir: str) -> None:
    """Makes the folder and tries it, before the work whose result it is for."""
    try:
        os.makedirs(workdir, exist_ok=True)
        tempfile.TemporaryFile(dir=workdir).close()
    except OSError as error:
        raise ConfigError(
            f"--workdir={workdir} cannot be written: {error.strerror}"
        ) from error


def _adopt(
    task: Task, init_from: str, given: Collection[str], workdir: str | None
) -> None:
    """Adapts the config to the weights, or to what the run in `workdir` made of them.

    A run that can go on from its checkpoint does so when the weights are gone.
    """
    training = _MODE.value == "train"
    try:
        task.adopt(init_from, given, training=training)
    except DataError as error:
        saved = configs.load(workdir) if training and workdir else None
        if saved is None:
            raise
        logging.warning("%s; what they expect is as in %s", error, workdir)
        kept = {
            name: value
            for name, value in configs.flat(saved).items()
            if name.partition(".")[0] in task.adopted and name not in given
        }
        task.config.update_from_flattened_dict(kept)


def _dispatch(package: _Package, rest: Sequence[str]) -> None:
    images = [os.path.expanduser(path) for path in (*_IMAGE.value, *rest)]
    preset = _preset(package)
    config, overrides = _load_config(package, preset and preset[0])
    configs.validate(config, package.tasks)
    workdir = _workdir()
    data_dir = _path(_DATA_DIR.value)
    init_from = _path(_INIT_FROM.value) or (preset and preset[1])
    _check_workdir(package, workdir, init_from)
    task = _find(package.tasks[config.task])(config)
    # Resumed without --config, a run has the config it saved, adapted when it began.
    resumed = _CONFIG.value is None and _MODE.value == "train"
    if init_from is not None and not resumed:
        _adopt(task, init_from, overrides, workdir)
    if _MODE.value == "plan":
        from common.plan import command  # before any device is in use

        assert _DEVICES.value is not None  # _check_mode
        text = command.run(task, config, _DEVICES.value, _MESH.value, workdir)
        sys.stdout.write(text + "\n")
        return
    setup_runtime(_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    from common import dry_run, modes  # late: --help needs none of it

    if _DRY_RUN.value:
        sys.stdout.write(dry_run.describe(task, config, data_dir) + "\n")
        return
    if _MODE.value == "benchmark":
        modes.benchmark(task, config, data_dir)
        return
    if _MODE.value == "predict" and package.predict:
        _find(package.predict)(task, config, workdir, init_from)
        return
    assert workdir is not None  # checked above
    if _MODE.value in package.experiments:
        call = _find(package.experiments[_MODE.value][0])
        modes.say(call(task, config, workdir, data_dir))
    elif _MODE.value == "train":
        modes.train(
            task,
            config,
            workdir,
            package=package.name,
            data_dir=data_dir,
            init_from=init_from,
            resume=_RESUME.value,
            stop_after_steps=_STOP_AFTER.value,
            profile_steps=_PROFILE.value,
            debug_nans=_DEBUG_NANS.value,
            overrides=overrides,
        )
    elif _MODE.value == "eval":
        modes.evaluate(task, config, workdir, data_dir, init_from)
    elif _MODE.value == "export":
        modes.export(task, config, workdir, init_from)
    else:
        modes.predict(task, config, workdir, images, init_from)


def _preset(package: _Package) -> tuple[str, str] | None:
    """Returns config file and weights of `--task`, if it is given."""
    name = FLAGS["task"].value if package.presets else None
    if package.presets is None or name is None:
        return None
    for other in (_CONFIG, _WORKDIR):
        if other.value is not None:
            raise ConfigError(f"--task={name} and --{other.name} exclude each other")
    return _find(package.presets)(name)


def _check_workdir(
    package: _Package, workdir: str | None, init_from: str | None
) -> None:
    """Refuses a mode without the run it reads or writes."""
    mode = _MODE.value
    if workdir is not None or mode in ("benchmark", "plan") or _DRY_RUN.value:
        return
    if mode != "predict" or not package.predict:
        raise ConfigError("--workdir is needed")
    if init_from is None:
        raise ConfigError("--workdir or --init_from is needed")


def _path(path: str | None) -> str | None:
    """Expands `~`, which a shell leaves alone in `--flag=~/x`."""
    return None if path is None else os.path.expanduser(path)


def _load_config(
    package: _Package, preset: str | None
) -> tuple[ml_collections.ConfigDict, dict[str, Any]]:
    """Returns the config with `--fake_data` applied, and the overrides."""
    overrides: dict[str, Any] = {}
    if preset is not None:
        config: Any = ConfigFileFlagParser("config").parse(str(_ROOT / preset))
    elif _CONFIG.value is not None:
        config = _CONFIG.value
        overrides = dict(config_flags.get_override_values(FLAGS["config"]))
    else:
        workdir = _path(_WORKDIR.value)
        config = configs.load(workdir) if workdir else None
        if config is None and _MODE.value in package.experiments:
            default = package.experiments[_MODE.value][1]
            parsed: Any = ConfigFileFlagParser("config").parse(str(_ROOT / default))
            config = parsed
        if config is None:
            needed = f"--config is needed, e.g. one of configs/{package.name}/*.py"
            if package.presets and _MODE.value == "predict":
                needed = "one of --task, --config and --workdir is needed"
            searched = f" ({workdir} holds no config.json)"
            raise ConfigError(needed + (searched if workdir else ""))
    if _FAKE_DATA.value:
        config.data.source = "fake"
        overrides["data.source"] = "fake"
    return config, overrides


def setup_logging(package: str) -> None:
    """Short log lines; of other packages than ours only warnings."""
    ours = tuple(str(_ROOT / name) + os.sep for name in ("common", package))
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    handler.setFormatter(std_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    handler.addFilter(
        lambda record: (
            record.levelno > std_logging.INFO or record.pathname.startswith(ours)
        )
    )
