"""Images per second of the input pipeline, and how long a training step waits for it.

Run: python -m benchmarks.input_pipeline --seconds=5 --num_images=256

It makes JPEGs of about 500 x 375 pixels (ImageNet's usual size) from photographs
that ship with installed packages, and measures the host alone, then training steps.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

from common.data import pipeline, transforms
from common.data.decode import decode
from common.data.randaugment import RandAugment
from common.data.sources.bundled import open_bundled
from common.data.sources.folder import FolderSource, ListSource

BATCH_SIZE = 32
RECIPE = (
    transforms.RandomResizedCrop(224),
    transforms.RandomFlip(),
    RandAugment(2, 15),
    transforms.ToArray(),
)


def make_images(root: str | os.PathLike[str], count: int) -> FolderSource:
    """Writes `count` JPEGs of 500 x 375 pixels, quality 90, below `root`.

    Each is a random crop of a bundled photograph.
    """
    photos = open_bundled("photos", "train")
    images = [decode(photos[i]["image"]) for i in range(len(photos))]
    rng = np.random.default_rng(0)
    crop = transforms.RandomResizedCrop((375, 500), area=(0.3, 1.0))
    for i in range(count):
        label = i % len(images)
        folder = Path(root) / "train" / photos.class_names[label]
        folder.mkdir(parents=True, exist_ok=True)
        image = crop.random_map({"image": images[label]}, rng)["image"]
        image.save(folder / f"{i:05d}.jpg", quality=90)
    return FolderSource(root, "train")


def calls_per_second(call: Callable[[int], Any], seconds: float) -> float:
    """Calls `call(0)`, `call(1)`, ... for `seconds` in this thread."""
    call(0)
    start, count = time.perf_counter(), 0
    while (elapsed := time.perf_counter() - start) < seconds:
        call(count)
        count += 1
    return count / elapsed


def stage_speeds(source: ListSource, seconds: float) -> dict[str, float]:
    """Returns images per second and thread of reading, decoding and each transform.

    Every stage starts from what the stage before it gives, made beforehand.
    """
    files = [Path(source[i]["image"]) for i in range(min(len(source), 64))]
    encoded = [file.read_bytes() for file in files]
    examples: list[Any] = [{"image": decode(data)} for data in encoded]
    count = len(files)
    speeds = {
        "read": calls_per_second(lambda i: files[i % count].read_bytes(), seconds),
        "decode": calls_per_second(lambda i: decode(encoded[i % count]), seconds),
    }
    rng = np.random.default_rng(0)
    for transform in RECIPE:
        if isinstance(transform, transforms.RandomMap):

            def apply(i: int, f=transform.random_map, given=examples) -> Any:
                return f(given[i % count], rng)
        else:

            def apply(i: int, f=transform.map, given=examples) -> Any:
                return f(given[i % count])

        speeds[type(transform).__name__] = calls_per_second(apply, seconds)
        examples = [apply(i) for i in range(count)]
    return speeds


def pipeline_speed(
    source: ListSource, seconds: float, num_workers: int, num_threads: int
) -> float:
    """Returns images per second of whole training batches, after the first two."""
    dataset = pipeline.train_dataset(
        source,
        RECIPE,
        batch_size=BATCH_SIZE,
        seed=0,
        num_workers=num_workers,
        num_threads=num_threads,
    )
    iterator = iter(dataset)
    for _ in range(2 + num_workers):  # workers start, buffers fill
        next(iterator)
    batches = calls_per_second(lambda _: next(iterator), seconds)
    iterator.close()
    return batches * BATCH_SIZE


def waiting_share(root: str | os.PathLike[str], variant: str) -> dict[str, float]:
    """Times training steps of MaxViT on the JPEGs below `root`.

    Returns:
      What `--mode=benchmark` prints: rates with a fixed batch and with the pipeline,
      and the share of a step spent waiting for input.
    """
    from common import modes
    from configs.maxvit import folder
    from maxvit.tasks import Classification

    config = folder.get_config(variant)
    config.dtype = "float32"
    config.batch_size = 8
    config.augment.randaugment_magnitude = 15.0
    config.data.num_workers = 0
    config.data.eval_split = "train"  # opened, not used
    return modes.benchmark(Classification(config), config, str(root), steps=8)


def main(argv: Sequence[str]) -> None:
    """Prints one row per measurement."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    seconds = flags.FLAGS.seconds
    with tempfile.TemporaryDirectory() as root:
        source = make_images(root, flags.FLAGS.num_images)
        print(f"{os.cpu_count()} CPU cores; JPEG 500 x 375 to 224 x 224")
        for stage, speed in stage_speeds(source, seconds / 5).items():
            print(f"one thread, {stage:<18} {speed:8.0f} images/s")
        for workers, threads in ((0, 1), (0, 2), (0, 4), (1, 2), (2, 1), (2, 2)):
            speed = pipeline_speed(source, seconds, workers, threads)
            name = f"{workers} workers, {threads} threads each"
            print(f"pipeline, {name:<27} {speed:8.0f} images/s")
        for variant in ("testing", "tiny"):
            print(f"training step of MaxViT {variant} at 224, batch 8, on the device:")
            waiting_share(root, variant)


if __name__ == "__main__":
    # Here, so that the module can be imported beside others with such flags.
    flags.DEFINE_float("seconds", 5.0, "Measured time per row.", lower_bound=0.1)
    flags.DEFINE_integer("num_images", 256, "JPEGs to make.", lower_bound=1)
    app.run(main)
