"""What a learned metric has to beat: simple rules and the usual measures.

Of one photograph and one encoder "the higher quality factor wins" is a strong rule; a
metric that does not beat it has shown nothing.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ml_collections
import numpy as np
from PIL import Image

from common.config import unknown
from common.data import decode
from common.errors import ConfigError
from common.metrics import image as metrics
from iqa import jpeg_pairs, pairs
from iqa.pairs import Pair, Version

QUALITY, SIZE = "higher quality factor", "larger file"
NETS = ("alex", "vgg")
# Of equal pictures, whose ratio has no bound; our choice.
_LARGEST_PSNR = 100.0
# Of a reference and a version, uint8 `[H, W, 3]`: higher is better.
Measure = Callable[[np.ndarray, np.ndarray], float]


def check(options: ml_collections.ConfigDict) -> None:
    """Refuses options that cannot be; see `iqa.preference_config`.

    Raises:
      ConfigError: naming the first.
    """
    if options.lpips_net not in NETS:
        raise ConfigError(
            unknown("config.evaluation.lpips_net", options.lpips_net, NETS)
        )


def measures(options: ml_collections.ConfigDict) -> dict[str, Measure]:
    """Returns the measures of pixels; LPIPS and DISTS where their weights are given.

    Raises:
      ConfigError: the weights are none.
    """
    found: dict[str, Measure] = {
        "PSNR": lambda x, y: min(metrics.psnr(y, x), _LARGEST_PSNR),
        "SSIM": lambda x, y: metrics.ssim(y, x),
        "MS-SSIM": lambda x, y: metrics.ms_ssim(y, x),
    }
    if options.lpips:
        from common.metrics import perceptual

        net = options.lpips_net
        weights = perceptual.load_lpips(_paths(options.lpips), net)
        distance = functools.partial(perceptual.lpips, net=net)
        found[f"LPIPS ({net})"] = _perceptual(distance, weights)
    if options.dists:
        from common.metrics import perceptual

        weights = perceptual.load_dists(_paths(options.dists))
        found["DISTS"] = _perceptual(perceptual.dists, weights)
    return found


def _paths(text: str) -> Any:
    """Returns the one path, or all of several."""
    paths = [os.path.expanduser(path.strip()) for path in text.split(",")]
    return paths if len(paths) > 1 else paths[0]


def _perceptual(distance: Callable[..., Any], variables: Any) -> Measure:
    """Makes a measure of a distance between pictures `[B, H, W, 3]` in [0, 1]."""
    import jax

    run = jax.jit(distance)

    def measure(reference: np.ndarray, version: np.ndarray) -> float:
        both = (x[None].astype(np.float32) / 255 for x in (reference, version))
        return -float(run(variables, *both)[0])

    return measure


def score(
    compared: Sequence[Pair], options: ml_collections.ConfigDict
) -> dict[str, np.ndarray]:
    """Scores both versions of pairs by every rule and measure.

    Each version is made and measured once, references side by side.

    Args:
      compared: pairs whose pictures can be read.
      options: the `evaluation` section.

    Returns:
      Name -> float64 `[N, 2]`, higher being better, NaN where there is none: a quality
      that is not known, a picture too small for MS-SSIM.
    """
    chosen = measures(options)
    by_reference: dict[str, dict[str, tuple[Pair, Version]]] = {}
    for pair in compared:
        for version in (pair.first, pair.second):
            by_reference.setdefault(pair.key, {})[version.name] = pair, version
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        jobs = [
            pool.submit(_score_reference, list(versions.values()), chosen)
            for versions in by_reference.values()
        ]
        found: dict[tuple[str, str], dict[str, float]] = {}
        for key, job in zip(by_reference, jobs, strict=True):
            found |= {(key, name): scores for name, scores in job.result().items()}
    return {
        name: np.array(
            [
                [found[p.key, v.name][name] for v in (p.first, p.second)]
                for p in compared
            ]
        )
        for name in (QUALITY, SIZE, *chosen)
    }


def _score_reference(
    versions: Sequence[tuple[Pair, Version]], chosen: Mapping[str, Measure]
) -> dict[str, dict[str, float]]:
    """Scores all versions of one reference, by their names."""
    reference = decode.decode(versions[0][0].reference)
    pixels = pairs.whole(np.asarray(reference))
    found = {}
    for _, version in versions:
        shown = pairs.whole(np.asarray(pairs.picture(version, reference)))
        found[version.name] = {
            QUALITY: np.nan if version.quality is None else float(version.quality),
            SIZE: _size(version, reference),
            **{name: measure(pixels, shown) for name, measure in chosen.items()},
        }
    return found


def _size(version: Version, reference: Image.Image) -> float:
    """Returns the bytes of a JPEG file; of others size says something else."""
    if version.size is not None:
        return float(version.size)
    if version.picture is None and version.quality is not None:
        return float(len(jpeg_pairs.encode(reference, version.quality)))
    path = version.picture
    if isinstance(path, str) and path.lower().endswith((".jpg", ".jpeg")):
        return float(os.path.getsize(path))
    return float("nan")
