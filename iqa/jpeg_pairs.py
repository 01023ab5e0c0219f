"""JPEG versions of references, as the data set CIQA had them made.

CIQA publishes labels only (arXiv 2103.01114): which quality factors were compared. Its
versions came from TensorFlow's `adjust_jpeg_quality`: baseline JPEG, chroma halved both
ways, in the size of the reference. Ours come from Pillow's libjpeg-turbo with the same
tables; TensorFlow decodes with a faster, less exact inverse DCT, so pixels can differ
by a level. Which codec made them is recorded.
"""

from __future__ import annotations

import dataclasses
import functools
import io
import itertools
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import ml_collections
import numpy as np
import PIL
from PIL import Image, features

from common import atomic, tables
from common import config as configs
from common.data import decode
from common.errors import ConfigError, DataError
from common.metrics import image as metrics
from common.task import Task

SUBSAMPLING = "4:2:0"
BLOCK = 16  # pixels of a side of what that codes at once
# Of a file at quality 100, below which something else than coding has changed it
# (our choice; photographs have about 40 dB and more).
LEAST_PSNR = 35.0
# CIQA took those pictures of AVA only that were stored with this quality or more.
STORED_QUALITY = 99
_NAMED = 5


def encode(
    image: Image.Image,
    quality: int,
    subsampling: str = SUBSAMPLING,
    tables: Mapping[int, Sequence[int]] | None = None,
) -> bytes:
    """Returns a baseline JPEG file.

    Args:
      image: RGB.
      quality: of libjpeg, from 1 to 100; with `tables` it is not used.
      subsampling: of the chroma.
      tables: of quantisation, 64 numbers each for luma (0) and chroma (1), in rows.
    """
    file = io.BytesIO()
    how: dict[str, Any] = {"qtables": tables} if tables else {"quality": quality}
    image.save(file, "JPEG", subsampling=subsampling, **how)
    return file.getvalue()


def codec() -> dict[str, str]:
    """Returns what makes the versions, for the record of a data set."""
    turbo = features.version_feature("libjpeg_turbo") or "no"
    return {
        "pillow": PIL.__version__,
        "libjpeg": str(features.version_codec("jpg")),
        "libjpeg_turbo": turbo,
        "subsampling": SUBSAMPLING,
    }


@dataclasses.dataclass(frozen=True)
class Checked:
    """What was found of one reference.

    Attributes:
      key: of the reference.
      error: why it cannot be used; "" for one that can.
      psnr: of its version at quality 100, in dB.
      sizes: quality to bytes, of the versions that labels name.
      recompressed: whether its file is stored below `STORED_QUALITY`.
    """

    key: str
    error: str = ""
    psnr: float = float("nan")
    sizes: Mapping[int, int] = dataclasses.field(default_factory=dict)
    recompressed: bool = False

    @property
    def monotone(self) -> bool:
        """Whether files grow with the quality."""
        found = [self.sizes[quality] for quality in sorted(self.sizes)]
        return all(a <= b for a, b in itertools.pairwise(found))


def check(
    key: str, path: str, qualities: Sequence[int], output: Path | None = None
) -> Checked:
    """Makes the versions of a reference, and looks at them.

    Args:
      key: of the reference.
      path: of its file.
      qualities: that labels name.
      output: folder that gets them as `<key>/<quality>.jpg`, if any.
    """
    if not Path(path).is_file():
        return Checked(key, "missing")
    try:
        image = decode.decode(path)
        recompressed = _stored_below(path)
    except Exception as error:  # Pillow raises many types for broken files.
        return Checked(key, f"cannot be read: {error}")
    best = np.asarray(decode.decode(encode(image, 100)))
    files = {quality: encode(image, quality) for quality in sorted(set(qualities))}
    if output is not None:
        for quality, file in files.items():
            with atomic.replacing(output / key / f"{quality}.jpg") as temporary:
                temporary.write_bytes(file)
    return Checked(
        key,
        psnr=metrics.psnr(best, np.asarray(image)),
        sizes={quality: len(file) for quality, file in files.items()},
        recompressed=recompressed,
    )


def check_all(
    references: Mapping[str, tuple[str, Sequence[int]]], output: Path | None = None
) -> list[Checked]:
    """Checks references, several at once, in their order.

    Args:
      references: key to path and qualities.
      output: as for `check`.
    """
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        work = [
            pool.submit(check, key, *value, output) for key, value in references.items()
        ]
        return [future.result() for future in work]


def report(found: Sequence[Checked]) -> tables.Table:
    """Returns what was found as a table, with the names of what is wrong.

    Raises:
      DataError: no reference can be used.
    """
    good = [one for one in found if not one.error]
    if not good:
        first = ", ".join(f"{one.key} ({one.error})" for one in found[:_NAMED])
        raise DataError(f"none of {len(found)} references can be used: {first}")
    lossy = [one.key for one in good if one.psnr <= LEAST_PSNR]
    rows = [
        ("references that can be used", [one.key for one in good], ""),
        ("missing", [one.key for one in found if one.error == "missing"], None),
        (
            "cannot be read",
            [one.key for one in found if one.error not in ("", "missing")],
            None,
        ),
        (f"quality 100 at most {LEAST_PSNR:g} dB from the reference", lossy, None),
        (
            "files that do not grow with the quality",
            [one.key for one in good if not one.monotone],
            None,
        ),
        (
            f"stored below quality {STORED_QUALITY}",
            [one.key for one in good if one.recompressed],
            None,
        ),
    ]
    return [
        ("check", "count", "such as"),
        *(
            (what, str(len(keys)), _some(keys) if shown is None else shown)
            for what, keys, shown in rows
        ),
    ]


def _some(keys: Sequence[str]) -> str:
    return " ".join(keys[:_NAMED])


def run(
    task: Task, config: ml_collections.ConfigDict, workdir: str, data_dir: str | None
) -> str:
    """Writes the versions that CIQA's labels name, and what was checked.

    `workdir` gets `versions/<ref_id>/<quality>.jpg`, `regeneration.md` and `.csv`, and
    `codec.json`.

    Raises:
      ConfigError: the config's data is not CIQA.
      DataError: there are no labels, or no reference can be used.
    """
    from iqa import ciqa  # which imports this module

    del task
    if config.data.source != "ciqa":
        raise ConfigError(
            "versions are made for config.data.source=ciqa, not for "
            f"{config.data.source}"
        )
    home = Path(workdir)
    references = ciqa.references(data_dir or config.data.dir)
    found = check_all(references, home / "versions")
    text = tables.write({"regeneration": report(found)}, str(home))
    count = sum(len(one.sizes) for one in found)
    configs.write_json(home / "codec.json", codec() | {"versions": count})
    return text


def _stored_below(path: str) -> bool:
    """Whether a JPEG file has coarser steps than the least quality CIQA allows."""
    with Image.open(path) as image:
        steps = getattr(image, "quantization", None)
    return bool(steps) and sum(steps[0]) > _luma_steps(STORED_QUALITY)


@functools.cache
def _luma_steps(quality: int) -> int:
    """Returns the sum of libjpeg's luma table, read from a file it made."""
    file = io.BytesIO(encode(Image.new("RGB", (BLOCK, BLOCK)), quality))
    with Image.open(file) as image:
        steps: Any = getattr(image, "quantization")  # noqa: B009 JPEG files have it
        return sum(steps[0])
