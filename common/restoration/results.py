"""What an evaluation of restored images leaves: scores per image, means, pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from PIL import Image

from common import atomic, tables
from common.data import pipeline
from common.data.normalization import to_unit
from common.data.sources import Source
from common.logging import plots
from common.metrics.image import to_bytes
from common.restoration.inference import Restorer

SCORES, TABLE, SAMPLES = "per_image.csv", "table.md", "samples.png"
_SHOWN = 6
_SIDE = 256  # of what is shown of an image


@dataclasses.dataclass(frozen=True)
class Published:
    """A published mean score, to stand beside ours."""

    name: str
    psnr: float
    ssim: float


def means(outputs: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Returns the mean of each score; an image below the window of SSIM has none."""
    names = [name for name in outputs if name != "id"]
    return {name: float(np.nanmean(outputs[name])) for name in names}


def write_scores(
    outputs: Mapping[str, np.ndarray], source: Source, folder: Path
) -> Path:
    """Writes one row per image, with its name and all of its scores."""
    names = [name for name in outputs if name != "id"]
    rows = [["id", "name", *names]]
    for row, number in enumerate(outputs["id"]):
        values = [f"{outputs[name][row]:.6g}" for name in names]
        rows.append([str(number), source[int(number)]["name"], *values])
    return _write(folder / SCORES, tables.as_csv(rows))


def write_table(
    scores: Mapping[str, float], published: Sequence[Published], folder: Path
) -> Path:
    """Writes the means beside what is published, as Markdown."""
    others = [name for name in scores if not name.startswith(("psnr", "ssim"))]
    rows = [
        (
            *("as computed", _show(scores["psnr"]), _show(scores["ssim"], 4)),
            *(_show(scores[name], 4) for name in others),
        ),
        ("cut to 8 bits", _show(scores["psnr_8bit"]), _show(scores["ssim_8bit"], 4)),
        ("input", _show(scores["psnr_input"]), ""),
    ]
    rows += [
        (name.removeprefix("psnr_"), _show(value), "")
        for name, value in scores.items()
        if name.startswith("psnr_") and name not in ("psnr_8bit", "psnr_input")
    ]
    rows += [
        (f"published: {row.name}", _show(row.psnr), _show(row.ssim, 3))
        for row in published
    ]
    header = ("", "PSNR", "SSIM", *others)
    rows = [(*row, *[""] * (len(header) - len(row))) for row in rows]
    return _write(folder / TABLE, tables.markdown([header, *rows]))


def draw(
    outputs: Mapping[str, np.ndarray],
    source: Source,
    transforms: Sequence[Any],
    restorer: Restorer,
    folder: Path,
) -> list[tuple[str, Path]]:
    """Draws input, result and target of the worst, median and best images.

    Their inputs are written to `examples/`, too, to try the network on.
    """
    order = np.argsort(outputs["psnr"], kind="stable")
    picked = np.linspace(0, len(order) - 1, min(_SHOWN, len(order))).round().astype(int)
    images, captions = [], []
    for row in order[np.unique(picked)]:
        example = pipeline.example(source, transforms, int(outputs["id"][row]))
        given = to_unit(example["image"])
        restored = restorer(given)
        scale = round(len(restored) / len(given))
        for image in (enlarge(given, scale), restored, to_unit(example["target"])):
            images.append(to_bytes(_centre(image), "nearest"))
        captions += [
            f"input {outputs['psnr_input'][row]:.2f} dB",
            f"restored {outputs['psnr'][row]:.2f} dB",
            _short(source[int(outputs["id"][row])]["name"]),
        ]
        _write_example(folder / "examples", row, to_bytes(given, "nearest"))
    caption = (
        f"Input, result and target: {len(images) // 3} images from the lowest PSNR to "
        "the highest, of each the centre"
    )
    path = plots.image_grid(images, captions, folder / SAMPLES, columns=6)
    return [(caption, path)]


def enlarge(image: np.ndarray, scale: int) -> np.ndarray:
    """Returns `[H, W, 3]` with sides `scale` times as long, bicubic (a = -0.5).

    What a small image is compared and shown as; the method that every paper on
    super-resolution has as its first row.
    """
    if scale == 1:
        return image
    height, width, channels = image.shape
    large = (height * scale, width * scale, channels)
    with jax.default_device(jax.local_devices(backend="cpu")[0]):
        return np.asarray(jax.image.resize(image, large, "cubic"))


def _write_example(folder: Path, number: int, image: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(folder / f"{number:04d}.png") as temporary:
        Image.fromarray(image).save(temporary, format="PNG")


def _centre(image: np.ndarray) -> np.ndarray:
    """Cuts out the middle, where an image is larger than what is shown."""
    top, left = (max(side - _SIDE, 0) // 2 for side in image.shape[:2])
    return image[top : top + _SIDE, left : left + _SIDE]


def _show(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}"


def _short(name: str) -> str:
    return Path(name).stem[-22:]


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
