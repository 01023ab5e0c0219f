"""`--mode=predict` for packages that restore images: files in, files out."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import ml_collections
from absl import logging

from common import modes
from common.errors import ConfigError
from common.restoration import compile_cache, files, flags, pictures, walk
from common.restoration.files import Job
from common.restoration.inference import Restorer
from common.restoration.pictures import Picture
from common.restoration.tiles import Tiling

if TYPE_CHECKING:
    from common.restoration.task import Restoration


def run(
    task: Restoration,
    config: ml_collections.ConfigDict,
    workdir: str | None,
    init_from: str | None,
) -> None:
    """Restores what the flags name, and prints one line for each image.

    What cannot be restored is reported and skipped.

    Args:
      task: whose network restores.
      config: its config.
      workdir: of the run whose weights are used.
      init_from: weights to use instead.

    Raises:
      ConfigError: the flags cannot be.
      DataError: nothing can be read, or, at the end, not every image was restored.
    """
    options = flags.options()
    plain = task.restorer({}, options.bfloat16)
    if options.ensemble and plain.mosaic:
        raise ConfigError("--ensemble: a mosaic cannot be turned")
    tiling = tiling_of(options, plain)
    jobs = files.plan(options.input, options.output, options.format)
    files.check_writable(options.output)
    compile_cache.use()
    experiment = modes.on_one_device(task, config)
    variables, where = modes.find_variables(experiment, workdir, init_from)
    logging.info("%d images, weights of %s", len(jobs), where)
    restorer = task.restorer(variables, options.bfloat16)

    def work(job: Job, picture: Picture) -> str:
        return _restore(job, picture, restorer, tiling, options.ensemble)

    failed = walk.each(jobs, work, modes.say)
    walk.check_all(jobs, failed, "restored")


def tiling_of(options: flags.Options, restorer: Restorer) -> Tiling | None:
    """Returns the tiles that flags ask for; None for whole images.

    Where the network is known to look no further than some pixels, tiles share them
    by default, and the result is that of the whole image, if its sides are multiples
    that the network takes. Else they share an eighth (our choice: 64 pixels of tiles of
    512) and fade into each other.

    Raises:
      ConfigError: the network does not take such tiles.
    """
    if options.tile is None:
        return None
    multiple, radius = restorer.multiple, restorer.radius
    if options.tile % multiple:
        near = max(round(options.tile / multiple), 1) * multiple
        raise ConfigError(
            f"--tile={options.tile} must be a multiple of {multiple}, e.g. {near}"
        )
    if options.overlap is not None:
        overlap = options.overlap
    elif radius is not None and 2 * radius + multiple <= options.tile:
        overlap = 2 * radius
    else:
        overlap = options.tile // 8
    if radius is None:
        return Tiling(options.tile, overlap, multiple=multiple)
    if overlap < 2 * radius:
        logging.warning(
            "tiles of %d pixels share %d, and the network looks %d far: there may be "
            "seams, which --tile=%d or more would not have",
            options.tile,
            overlap,
            radius,
            -(-(2 * radius + 1) // multiple) * multiple,
        )
        return Tiling(options.tile, overlap, multiple=multiple)
    return Tiling(options.tile, overlap, radius, multiple)


def _restore(
    job: Job,
    picture: Picture,
    restorer: Restorer,
    tiling: Tiling | None,
    ensemble: bool,
) -> str:
    """Restores an image and returns what there is to say about it."""
    height, width, _ = picture.pixels.shape
    pictures.check_fits(picture, job.result, restorer.scale)
    if tiling is not None and tiling.cuts(height, width) and restorer.radius is None:
        logging.log_first_n(
            logging.WARNING,
            "larger images are restored tile by tile: of each, the network's global "
            "branch sees one tile of %d pixels, so light and colour may vary",
            1,
            tiling.size,
        )
    pixels = restorer(picture.pixels, ensemble=ensemble, tiling=tiling)
    alpha = pictures.enlarge_alpha(picture.alpha, restorer.scale)
    grey = picture.grey and not restorer.mosaic
    restored = dataclasses.replace(picture, pixels=pixels, alpha=alpha, grey=grey)
    pictures.write(job.result, restored)
    height, width, _ = pixels.shape
    return f"{job.source} -> {job.result}: {width} x {height}"
