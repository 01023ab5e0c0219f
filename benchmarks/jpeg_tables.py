"""What tables save in real files, and how long learning them takes.

    python -m benchmarks.jpeg_tables

On three photographs that no setting was chosen on: learned tables, those of the
exhaustive RD-OPT and flat ones against Annex K, in files with and without halved chroma
and with and without Huffman tables of their own. Savings at rate weight 20 are at equal
PSNR; BD-rates and BD-PSNR compare six rate weights, 5 to 160, with qualities 5 to 95.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
from absl import app, flags

from common import tables as text_tables
from common.data.decode import decode
from common.data.sources.bundled import open_bundled
from common.runtime import setup_runtime
from compression import evaluation, optimize, patches, rd_opt
from compression.evaluation import Coding
from compression.objective import Objective

_OUT = flags.DEFINE_string("out", "runs/jpeg_tables", "Folder of the results.")
IMAGES = ("astronaut", "coffee", "chelsea")
LADDER = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
RATE_WEIGHT = 20.0


def main(_: list[str]) -> None:
    """Measures and prints."""
    setup_runtime(None, None, None)
    images = _images()
    out = Path(_OUT.value)
    found: dict[str, list[tuple[str, ...]]] = {
        "jpeg_savings": [("image", "files", "learned %", "RD-OPT %", "flat 13 %")],
        "jpeg_curves": [
            ("image", "files", "tables", "BD-rate %", "BD-PSNR dB", "MS-SSIM BD-rate %")
        ],
        "jpeg_seconds": [("image", "pixels", "first s", "again s")],
    }
    for name, image in images.items():
        found["jpeg_seconds"].append(_seconds(name, image))
    for subsampling in ("4:4:4", "4:2:0"):
        for name, image in images.items():
            _compare(name, image, subsampling, found)
    print(text_tables.write(found, str(out)))


def _images() -> dict[str, np.ndarray]:
    found = {}
    for split in ("train", "eval"):
        source = open_bundled("photos", split)
        for index in range(len(source)):
            path = source[index]["image"]
            if Path(path).stem in IMAGES:
                found[Path(path).stem] = np.asarray(decode(path))
    return {name: found[name] for name in IMAGES}


def _seconds(name: str, image: np.ndarray) -> tuple[str, ...]:
    """Times learning one pair of tables, with compilation and without."""
    spent = []
    for _ in range(2):
        began = time.perf_counter()
        optimize.optimize_tables(patches.cut(image), RATE_WEIGHT)
        spent.append(f"{time.perf_counter() - began:.2f}")
    return name, f"{image.shape[0]} x {image.shape[1]}", *spent


def _compare(
    name: str,
    image: np.ndarray,
    subsampling: str,
    found: dict[str, list[tuple[str, ...]]],
) -> None:
    ladder = optimize.optimize_ladder(
        patches.cut(image), LADDER, objective=Objective(subsampling=subsampling)
    )
    costs = rd_opt.candidates([image], subsampling)
    ladders = {
        "learned": [ladder.at(weight) for weight in LADDER],
        "RD-OPT": [rd_opt.choose(*costs, weight) for weight in LADDER],
        "flat": evaluation.flat(),
    }
    alone, _ = optimize.optimize_tables(
        patches.cut(image), RATE_WEIGHT, objective=Objective(subsampling=subsampling)
    )
    single = (alone, ladders["RD-OPT"][2], evaluation.flat((13,))[0])
    for huffman in (True, False):
        coding = Coding(subsampling, huffman)
        files = f"{subsampling}, {'own' if huffman else 'standard'} Huffman"
        found["jpeg_savings"].append(
            (name, files, *(_saving(image, pair, coding) for pair in single))
        )
        reference = evaluation.curve(image, evaluation.annex_k(), coding)
        for tables, pairs in ladders.items():
            points = evaluation.curve(image, pairs, coding)
            gains = (
                evaluation.bd_rate(reference, points),
                evaluation.bd_score(reference, points),
                evaluation.bd_rate(reference, points, "ms_ssim"),
            )
            found["jpeg_curves"].append(
                (name, files, tables, *(f"{gain:.2f}" for gain in gains))
            )


def _saving(image: np.ndarray, pair: np.ndarray, coding: Coding) -> str:
    point = evaluation.curve(image, [pair], coding, with_ms_ssim=False)[0]
    return f"{100 * evaluation.saving(image, point.bytes, point.psnr, coding):.1f}"


if __name__ == "__main__":
    app.run(main)
