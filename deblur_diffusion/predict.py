"""`--mode=predict`: sharp images for a folder of blurry ones, and what is not known."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import logging

from common import modes
from common.errors import ConfigError
from common.restoration import command, compile_cache, files, pictures, walk
from common.restoration import flags as restoration_flags
from common.restoration.files import Job
from common.restoration.inference import check_image, check_range
from common.restoration.padding import Padding
from common.restoration.pictures import Picture
from common.restoration.tiles import Tiling
from deblur_diffusion import flags, models, sampler, tiled
from deblur_diffusion.tasks import Deblurring, to_model

# So far from the corner of the plane of noise is an image's first pixel: whatever is
# padded before it has noise, too, and the image's own does not depend on it.
_CORNER = 4096


class Result(NamedTuple):
    """What is made of one blurry image.

    Attributes:
      image: float32 `[H, W, 3]`, the mean of the samples, not clipped.
      samples: `[K, H, W, 3]`; None of the predictor alone.
    """

    image: np.ndarray
    samples: np.ndarray | None


def deblur(
    model: models.Deblurrer,
    variables: Mapping[str, Any],
    image: np.ndarray,
    preset: sampler.Preset | None = sampler.PRESETS["balanced"],
    *,
    seed: int = 0,
    eta: float = 1.0,
    tiling: Tiling | None = None,
    progress: bool = False,
) -> Result:
    """Deblurs one image of any size.

    The same seed gives the same result, in tiles, too, where they share enough.

    Args:
      model: of `models.create`.
      variables: of it.
      image: float `[H, W, 3]` in [0, 1], at least 8 pixels a side.
      preset: how to sample; None for what the predictor says.
      seed: of the samples.
      eta: see `sampler.table`.
      tiling: for images that do not fit into memory.
      progress: show a bar over the steps of tiles.

    Raises:
      DataError: no such image.
    """
    image = check_image(image)
    check_range(image)
    height, width, _ = image.shape
    padding = Padding.to_multiple(height, width, model.size_multiple)
    padded = padding.pad(image)
    if preset is None:
        guess = _guess(model, variables, to_model(padded[None]))[0]
        return Result(padding.crop((np.asarray(guess, np.float32) + 1) / 2), None)
    row, column = padding.start
    origin = (_CORNER - row, _CORNER - column)
    key = jax.random.key(seed)
    if tiling is None or not tiling.cuts(*padded.shape[:2]):
        samples = sampler.sample(
            key[None],
            model,
            variables,
            jnp.asarray(padded[None]),
            *preset,
            eta=eta,
            origin=origin,
        )[:, 0]
    else:
        samples = tiled.sample(
            key,
            model,
            variables,
            padded,
            *preset,
            tiling,
            eta=eta,
            origin=origin,
            progress=progress,
        )
    cropped = np.stack([padding.crop(np.asarray(x, np.float32)) for x in samples])
    return Result(cropped.mean(0), cropped)


@functools.partial(jax.jit, static_argnums=0)
def _guess(model: models.Deblurrer, variables: Any, images: jax.Array) -> jax.Array:
    guess: Any = model.apply(variables, images, method="predict")
    return guess


def chosen(options: flags.PredictOptions) -> sampler.Preset | None:
    """Returns how flags say to sample; None for the predictor alone."""
    if options.preset == flags.PREDICTOR:
        return None
    given = {
        name: value
        for name in sampler.Preset._fields
        if (value := getattr(options, name)) is not None
    }
    found = sampler.PRESETS[options.preset]._replace(**given)
    if options.keep and found.num_samples < 2:
        found = found._replace(num_samples=8)  # our choice: a deviation needs some
    steps, beta_max = sampler.clamp(found.steps, found.beta_max)
    return found._replace(steps=steps, beta_max=beta_max)


def run(
    task: Deblurring,
    config: ml_collections.ConfigDict,
    workdir: str | None,
    init_from: str | None,
) -> None:
    """Deblurs what the flags name, and prints one line for each image.

    With `--keep_samples`, `NAME_sample0.png`, ... and `NAME_deviation.png` lie beside
    each result: white is where samples differ most, in that image.

    Raises:
      ConfigError: the flags cannot be.
      DataError: nothing can be read, or, at the end, not every image was deblurred.
    """
    options, how = restoration_flags.options(), flags.predict_options()
    if options.ensemble or restoration_flags.TASK.value is not None:
        raise ConfigError("--ensemble and --task are not for this package")
    preset = chosen(how)
    plain = task.predictor({}, options.bfloat16)
    tiling = command.tiling_of(options, plain)
    jobs = files.plan(options.input, options.output, options.format)
    files.check_writable(options.output)
    compile_cache.use()
    experiment = modes.on_one_device(task, config)
    variables, where = modes.find_variables(experiment, workdir, init_from)
    variables = {"params": variables["params"]}
    model = task.network(options.bfloat16)
    logging.info("%d images, weights of %s, %s", len(jobs), where, preset or "guesses")

    def work(job: Job, picture: Picture) -> str:
        made = deblur(
            model,
            variables,
            picture.pixels,
            preset,
            seed=how.seed,
            eta=how.eta,
            tiling=tiling,
            progress=tiling is not None,
        )
        return _write(job, picture, made, how.keep)

    failed = walk.each(jobs, work, modes.say)
    walk.check_all(jobs, failed, "deblurred")


def _write(job: Job, picture: Picture, made: Result, keep: bool) -> str:
    pictures.check_fits(picture, job.result)
    pictures.write(job.result, dataclasses.replace(picture, pixels=made.image))
    height, width, _ = made.image.shape
    line = f"{job.source} -> {job.result}: {width} x {height}"
    if not keep or made.samples is None:
        return line
    for index, pixels in enumerate(made.samples):
        beside = dataclasses.replace(picture, pixels=pixels)
        pictures.write(_beside(job.result, f"sample{index}"), beside)
    spread = np.asarray(sampler.deviation(jnp.asarray(made.samples)))
    largest = float(spread.max())
    shown = np.repeat((spread / max(largest, 1e-6))[..., None], 3, axis=-1)
    path = _beside(job.result, "deviation").with_suffix(".png")
    pictures.write(path, Picture(shown.astype(np.float32), grey=True))
    return f"{line}, samples differ by up to {255 * largest:.1f} of 255 levels"


def _beside(result: Path, what: str) -> Path:
    return result.with_name(f"{result.stem}_{what}{result.suffix}")
