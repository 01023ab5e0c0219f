"""`--mode=predict`: a folder of images to images for another network."""

from __future__ import annotations

import functools

import ml_collections
import numpy as np
from absl import logging

from common import atomic, modes
from common.data import decode, transforms
from common.restoration import compile_cache, files, pictures, walk
from common.restoration.files import Job
from common.restoration.pictures import Picture
from common.size import Size
from common.task import Task
from resizer import flags, models, phases
from resizer.inference import Resizer, variables_of


def run(
    task: Task,
    config: ml_collections.ConfigDict,
    workdir: str | None,
    init_from: str | None,
) -> None:
    """Resizes what the flags name, and prints one line for each image.

    What cannot be read is reported and skipped.

    Args:
      task: of the model with the resizer.
      config: its config.
      workdir: of the run whose weights are used.
      init_from: weights to use instead.

    Raises:
      ConfigError: the flags cannot be, or nothing was learned.
      DataError: nothing can be read, or, at the end, not every image was resized.
    """
    options = flags.predict_options()
    fields = phases.section(config)
    size = options.size or fields.output_size
    resizer = models.make(dtype=config.dtype, **fields.resizer.to_dict())
    models.check_size(size)
    jobs = files.plan(options.input, options.output, pairs=False, advice="")
    files.check_writable(options.output)
    compile_cache.use()
    experiment = modes.on_one_device(task, config)
    variables, where = modes.find_variables(experiment, workdir, init_from)
    logging.info("%d images, weights of %s", len(jobs), where)
    apply = Resizer(
        resizer, variables_of(variables), size, config.preprocess.normalization
    )
    before = None if options.native else config.data.image_size
    work = functools.partial(_resize, apply=apply, before=before, npy=options.npy)
    walk.check_all(jobs, walk.each(jobs, work, modes.say), "resized")


def _resize(
    job: Job, picture: Picture, apply: Resizer, before: Size | None, npy: bool
) -> str:
    """Resizes an image, as training saw it, and returns what there is to say."""
    image = decode.decode(pictures.opaque(picture))
    given = f"{image.width} x {image.height}"
    if before is not None:
        squash = transforms.CenterCrop(before, "squash")
        image = squash.map({"image": image})["image"]
    (pixels,) = apply([np.asarray(image)])
    result = job.result.with_suffix(".npy") if npy else job.result
    if npy:
        with atomic.replacing(result) as temporary, temporary.open("wb") as file:
            np.save(file, pixels, allow_pickle=False)
    else:
        pictures.write(result, Picture(pixels))
    outside = np.mean((pixels < 0) | (pixels > 1))
    clipped = "outside [0, 1]" if npy else "clipped"
    height, width, _ = pixels.shape
    return (
        f"{job.source} -> {result}: {given} to {width} x {height}, "
        f"{100 * outside:.1f} % {clipped}"
    )
