"""`--mode=predict`: photographs as every restoring package has it, and scenes.

With a network for satellite images a TIFF is a scene: any bands, 8 or 16 bits or
floats, its place on the ground and its missing values are kept, and it may be larger
than the memory.
"""

from __future__ import annotations

import dataclasses
import functools

import ml_collections
from absl import logging

from common import modes
from common.errors import ConfigError, DataError
from common.restoration import command, compile_cache, files, walk
from common.restoration import flags as restoration_flags
from common.restoration.files import Job
from enhancement import flags, geotiff
from enhancement.satellite_task import SatelliteSR
from enhancement.tasks import Restoration

_TILE = 512  # of scenes, if no flag says it; in pixels of the scene


def run(
    task: Restoration,
    config: ml_collections.ConfigDict,
    workdir: str | None,
    init_from: str | None,
) -> None:
    """Restores what the flags name, and prints one line for each file.

    What cannot be restored is reported and skipped.

    Raises:
      ConfigError: the flags cannot be.
      DataError: nothing can be read, or, at the end, not every file was restored.
    """
    options = restoration_flags.options()
    if restoration_flags.TASK.value is not None:
        raise ConfigError("--task: no weights are published; give --workdir")
    jobs = files.plan(options.input, options.output)
    scenes = [job for job in jobs if job.source.suffix.lower() in geotiff.SUFFIXES]
    if not scenes or not isinstance(task, SatelliteSR):
        _refuse_scene_flags()
        command.run(task, config, workdir, init_from)
        return
    if len(scenes) < len(jobs):
        raise ConfigError(
            f"--input={options.input} has scenes ({scenes[0].source.name}) and "
            "pictures; give them one after the other"
        )
    jobs = [Job(job.source, job.result.with_suffix(".tif")) for job in jobs]
    _restore(task, config, workdir, init_from, jobs)


def _refuse_scene_flags() -> None:
    if flags.scene_options() != flags.SceneOptions():
        raise ConfigError(
            "--bands and --value_range are for GeoTIFF scenes and a network for "
            "satellite images"
        )


def _restore(
    task: SatelliteSR,
    config: ml_collections.ConfigDict,
    workdir: str | None,
    init_from: str | None,
    jobs: list[Job],
) -> None:
    options, given = restoration_flags.options(), flags.scene_options()
    if options.tile is None:
        options = dataclasses.replace(options, tile=_TILE)
    tiling = command.tiling_of(options, task.restorer({}, options.bfloat16))
    assert tiling is not None
    files.check_writable(options.output)
    compile_cache.use()
    experiment = modes.on_one_device(task, config)
    variables, where = modes.find_variables(experiment, workdir, init_from)
    logging.info("%d scenes, weights of %s", len(jobs), where)
    restorer = task.restorer(variables, options.bfloat16)
    shared = getattr(task.model, "shared_bands", False)
    convert = functools.partial(
        geotiff.convert,
        function=functools.partial(restorer, ensemble=options.ensemble),
        scale=task.scale,
        tiling=tiling,
        bands=None if shared else task.model.channels,
        pick=given.bands,
        value_range=given.value_range,
    )
    failed = []
    for job in jobs:
        job.result.parent.mkdir(parents=True, exist_ok=True)
        try:
            made = convert(job.source, job.result)
        except (DataError, OSError, MemoryError) as error:
            failed.append(job)
            reason = str(error) or "no memory left"
            named = str(job.source) in reason
            logging.error("%s", reason if named else f"{job.source}: {reason}")
            continue
        low, high = made.value_range
        bands = ", ".join(map(str, made.bands))
        walk.say(
            f"{job.source} -> {job.result}: {made.width} x {made.height}, bands "
            f"{bands}, black and white at {low:g} and {high:g}"
        )
    walk.check_all(jobs, failed, "restored")
