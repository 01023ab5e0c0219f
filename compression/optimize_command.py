"""`--mode=optimize`: learns tables of a folder's images, and writes files with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from absl import logging
from tqdm import tqdm

from common import tables as text_tables
from common.errors import ConfigError, DataError
from common.restoration import compile_cache, pictures, walk
from common.restoration.files import Job
from common.restoration.pictures import Picture
from common.runtime import setup_runtime
from compression import (
    evaluation,
    flags,
    folder,
    optimize,
    patches,
    rd_opt,
    results,
    search,
    tables,
)
from compression.evaluation import Coding
from compression.folder import Photo, Row
from compression.objective import Objective
from compression.optimize import Ladder
from compression.search import Found, Target

# Of the curves in `rate_distortion.png`.
LADDER = (5.0, 10.0, 20.0, 40.0, 80.0, 160.0)
# With --shared so many images, evenly spread, are held in memory to learn from.
_LEARNED_FROM = 64
_SHARED_NAME = "shared"


def run(workdir: str | None) -> str:
    """Learns tables as the flags say, and prints one line for each file.

    What cannot be read, or cannot reach the target, is reported and skipped. The output
    folder gets the JPEG files, `tables/` with those of every image or of all, and
    `files.md`, `files.csv`, and the numbers and pictures of `rate_distortion`.

    Args:
      workdir: None; results go where `--output` says.

    Returns:
      Bytes, rate and PSNR of all files.

    Raises:
      ConfigError: flags that cannot be.
      DataError: nothing can be read, or, at the end, not every image was.
    """
    options = flags.optimize_options()
    if workdir is not None:
        raise ConfigError("--mode=optimize takes no --workdir; results go to --output")
    jobs = folder.plan(options.input, options.output)
    setup_runtime(None, None, None)
    compile_cache.use()
    return Optimizer(options).run(jobs)


class Optimizer:
    """What one call of `--mode=optimize` does."""

    def __init__(self, options: flags.OptimizeOptions):
        self._options = options
        self._output = Path(options.output).expanduser()
        self._coding = Coding(options.subsampling, options.optimize_huffman)
        self._objective = Objective(subsampling=options.subsampling)
        self._target: Target | None = None
        for kind in ("bpp", "psnr"):
            if (value := getattr(options, f"target_{kind}")) is not None:
                self._target = Target(kind, value)
        self._rows: list[Row] = []
        self._savings: list[float] = []
        self._panels: dict[str, results.Curves] = {}

    def run(self, jobs: Sequence[Job]) -> str:
        """Works on all images; see `run` above."""
        shared = self._shared(jobs) if self._options.shared else None

        def work(job: Job, picture: Picture) -> str:
            return self._work(job, folder.photo(picture), shared)

        failed = walk.each(jobs, work)
        if self._rows:
            self._report()
        walk.check_all(jobs, failed, "encoded")
        return folder.summary(self._rows)

    def _work(
        self, job: Job, photo: Photo, shared: tuple[list[Found], Ladder | None] | None
    ) -> str:
        """Writes the files of one image, and measures its curves."""
        if shared is None:
            found = self._find([photo])
        else:
            found, _ = shared
        lines, coding = [], photo.coded(self._coding)
        for one in found:
            place = self._place(job, one, len(found) > 1)
            content = coding.encode(photo.pixels, one.tables)
            row = folder.write(place, photo, content)
            if shared is None:
                self._keep(place.result, one)
            saved = evaluation.saving(
                photo.pixels, row.point.bytes, row.point.psnr, coding
            )
            self._rows.append(row)
            self._savings.append(saved)
            lines.append(f"{row.line()}, {_percent(saved)}")
        if len(self._panels) < self._options.curve_images:
            ladder = shared[1] if shared else None
            self._panels[job.source.name] = self._curves(photo, ladder)
        return "\n".join(lines)

    def _place(self, job: Job, found: Found, several: bool) -> Job:
        """Returns where a file goes: a folder for each rate weight of several."""
        if not several:
            return job
        inside = job.result.relative_to(self._output)
        return Job(job.source, self._output / _weight(found.rate_weight) / inside)

    def _keep(self, result: Path, found: Found) -> None:
        """Writes tables under the name of the file they were learned for."""
        stem = self._output / "tables" / result.relative_to(self._output)
        tables.write_json(
            stem.with_suffix(".json"),
            found.tables,
            rate_weight=found.rate_weight,
            subsampling=self._options.subsampling,
        )
        tables.write_qtables(stem.with_suffix(".txt"), found.tables)

    def _shared(self, jobs: Sequence[Job]) -> tuple[list[Found], Ladder | None]:
        """Learns tables of all images together."""
        chosen = jobs[:: -(-len(jobs) // _LEARNED_FROM)]
        photos = []
        for job in tqdm(chosen, "reading", disable=not sys.stderr.isatty()):
            try:
                photos.append(folder.photo(pictures.read(job.source)))
            except (DataError, OSError) as error:
                logging.warning("%s is not learned from: %s", job.source, error)
        if not photos:
            raise DataError(f"none of {len(chosen)} images can be read")
        found = self._find(photos)
        for one in found:
            place = Job(Path(), self._output / f"{_SHARED_NAME}.jpg")
            self._keep(self._place(place, one, len(found) > 1).result, one)
        return found, self._ladder(photos) if self._options.curve_images else None

    def _find(self, photos: Sequence[Photo]) -> list[Found]:
        """Returns the tables for each rate weight, or those that meet the target."""
        learn = self._learner(photos)
        if self._target is not None:
            return [search.search(self._target, learn, self._measure(photos))]
        ladder = optimize.learn_ladder(learn, self._options.rate_weights)
        return [Found(weight, ladder.at(weight)) for weight in ladder.rate_weights]

    def _learner(self, photos: Sequence[Photo]) -> optimize.Learn:
        images = [photo.rgb for photo in photos]
        stack = patches.cut(images[0]) if len(images) == 1 else images

        def learn(weight: float, start: np.ndarray | None) -> np.ndarray:
            steps = self._options.steps
            steps = steps if start is None else optimize.further(steps)
            with tqdm(
                total=steps,
                desc=f"rate weight {weight:.3g}",
                unit="step",
                position=1,
                leave=False,
                disable=not sys.stderr.isatty(),
            ) as bar:
                _, history = optimize.optimize_tables(
                    stack,
                    weight,
                    objective=self._objective,
                    steps=steps,
                    rate_model=self._options.rate_model,
                    start=start,
                    report=lambda done: bar.update(done - bar.n),
                )
            return history["log_tables"][-1]

        return learn

    def _measure(self, photos: Sequence[Photo]) -> Callable[[np.ndarray], float]:
        """Returns what measures real files by what the target limits."""
        assert self._target is not None
        kind = self._target.kind

        def measure(pair: np.ndarray) -> float:
            points = [
                self._curve(photo, [pair], with_ms_ssim=False)[0] for photo in photos
            ]
            if kind == "psnr":
                return float(np.mean([point.psnr for point in points]))
            pixels = sum(photo.rgb[..., 0].size for photo in photos)
            return 8 * sum(point.bytes for point in points) / pixels

        return measure

    def _curve(
        self, photo: Photo, ladder: Sequence[np.ndarray], with_ms_ssim: bool = True
    ) -> list[evaluation.Point]:
        return evaluation.curve(
            photo.pixels, ladder, photo.coded(self._coding), with_ms_ssim=with_ms_ssim
        )

    def _ladder(self, photos: Sequence[Photo]) -> Ladder:
        return optimize.learn_ladder(self._learner(photos), LADDER)

    def _curves(self, photo: Photo, ladder: Ladder | None) -> results.Curves:
        """Compares a ladder of ours with those of others, in files of one image."""
        ladder = ladder or self._ladder([photo])
        costs = rd_opt.candidates([photo.rgb], self._options.subsampling)
        ladders = {
            "learned": [ladder.at(weight) for weight in LADDER],
            results.ANNEX_K: evaluation.annex_k(),
            "flat": evaluation.flat(),
            "RD-OPT": [rd_opt.choose(*costs, weight) for weight in LADDER],
        }
        return {name: self._curve(photo, some) for name, some in ladders.items()}

    def _report(self) -> None:
        saved = [
            "saved_%",
            *(f"{100 * s:.2f}" if s == s else "" for s in self._savings),
        ]
        cells = folder.table(self._rows, self._options.output)
        cells = [(*row, cell) for row, cell in zip(cells, saved, strict=True)]
        text_tables.write({"files": cells}, str(self._output))
        if self._panels:
            results.write_distortion(self._panels, self._output)


def _weight(rate_weight: float) -> str:
    return f"rate_weight_{rate_weight:g}"


def _percent(saved: float) -> str:
    """Says what a file saves."""
    if saved != saved:
        return "beyond the qualities of Annex K"
    less = "fewer" if saved >= 0 else "more"
    return f"{100 * abs(saved):.1f} % {less} bytes than Annex K at equal PSNR"
