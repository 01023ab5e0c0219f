"""Our JPEG codec against kornia's on PyTorch: time, and agreement with real files.

    python -m benchmarks.jpeg_codec --peer_python=PYTHON

PYTHON is an interpreter with torch and kornia (`pip install multiaxis[bench]`); by
default the one that runs this. Both take a photograph of 512 x 512 pixels, and eight of
them, through 4:2:0 and the tables of quality 50: forward alone, and with the gradients
of images and tables. The peer rounds by a cubic, and so does the form of ours that is
compared with it. Every program has a process of its own; the processes take turns, and
rounds that other programs disturbed are repeated, see `benchmarks.side_by_side`. All on
the CPU in float32.

Printed and written to --out: results.json and the processes' logs.
"""

from __future__ import annotations

import dataclasses
import io
import json
import os
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import maxvit_report as report
from benchmarks.side_by_side import QUIET, Worker, WorkerError, alternate
from common import atomic
from common.metrics.image import psnr
from compression import jpeg

MEASURES = ("forward", "gradient")
TARGETS = {"gradient": 3.0}  # ours over the peer
BATCHES = (1, 8)
# The first is compared; tables are learned with the second.
OURS = ("cubic", "straight_through")
PEER = ("eager", "compiled")
QUALITY = 50
# At these, decoded images are compared with Pillow's.
QUALITIES = (10, 50, 75, 90)


@dataclasses.dataclass(frozen=True)
class Setting:
    """What both sides share.

    Attributes:
      image: a photograph, uint8 `[H, H, 3]`.
      repeats: rounds that count.
      patience: seconds per comparison to wait for a quiet machine.
      peer_python: interpreter of the peer; None: ours alone.
      out: folder for results, logs and what the processes exchange.
    """

    image: np.ndarray
    repeats: int
    patience: float
    peer_python: str | None
    out: Path

    def job(self, measure: str, candidate: str, batch: int) -> dict[str, Any]:
        """Returns what a worker builds; every timing is of eight images."""
        qualities = QUALITIES if measure == "agreement" else (QUALITY,)
        return {
            "measure": measure,
            "candidate": candidate,
            "images": str(self.out / "images.npy"),
            "batch_size": batch,
            "calls": max(1, 8 // batch),
            "threads": os.cpu_count(),
            "tables": [jpeg.quality_tables(quality).tolist() for quality in qualities],
            "decoded": str(self.out / f"{candidate}.npy"),
        }

    def start(self, side: str, measure: str, candidate: str, batch: int = 1) -> Worker:
        """Starts a worker of a side, `ours` or `peer`."""
        python = sys.executable if side == "ours" else self.peer_python
        job = self.job(measure, candidate, batch)
        log = self.out / "logs" / f"{measure}-{batch}-{side}-{candidate}.log"
        env = {"JAX_PLATFORMS": "cpu", "OMP_NUM_THREADS": str(job["threads"])}
        command = [python or sys.executable, "-m", f"benchmarks.jpeg_codec_{side}"]
        return Worker(f"{side} {candidate}", command, job, log, env)


def variations(image: np.ndarray) -> np.ndarray:
    """Returns eight images: a square one turned and mirrored."""
    turned = [np.rot90(image, turns) for turns in range(4)]
    return np.stack([*turned, *(np.fliplr(one) for one in turned)])


def compare(setting: Setting, measure: str, batch: int) -> dict[str, Any]:
    """Times one program on both sides."""
    with ExitStack() as stack:
        workers, absent = [], {}
        sides = {"ours": OURS, "peer": PEER if setting.peer_python else ()}
        for side, candidate in [(s, c) for s, names in sides.items() for c in names]:
            try:
                worker = setting.start(side, measure, candidate, batch)
            except WorkerError as error:
                # The peer is not made for a compiler; the plain form has to run.
                if candidate != "compiled":
                    raise
                absent[candidate] = str(error).partition("\n")[0]
            else:
                workers.append(stack.enter_context(worker))
        rounds = alternate(workers, setting.repeats, setting.patience)
    job = setting.job(measure, "", batch)
    rows = [report.row(worker, rounds, job) for worker in workers]
    compared = [row for row in rows if row["name"] != f"ours {OURS[1]}"]
    check_same_work(compared)
    found = {"rows": rows, "absent": absent}
    return found | report.ratios(compared, rounds, TARGETS.get(measure, 0.0))


def check_same_work(rows: Sequence[dict[str, Any]]) -> None:
    """Checks that results are alike.

    Raises:
      WorkerError: their mean magnitudes differ by more than a twentieth.
    """
    sums = {row["name"]: row["facts"]["checksum"] for row in rows}
    if max(sums.values()) > 1.05 * min(sums.values()):
        raise WorkerError(f"the sides do not compute the same: magnitudes {sums}")


def agreement(setting: Setting) -> dict[str, list[float]]:
    """Returns the PSNR of decoded images against those that Pillow decodes.

    Every list is over `QUALITIES`; "source" is the PSNR of Pillow's to the photograph.
    """
    wanted = [pillow(setting.image, quality) for quality in QUALITIES]
    decoded = {"source": [setting.image] * len(wanted)}
    programs = [("ours", name) for name in ("hard", *OURS)]
    programs += [("peer", "eager")] if setting.peer_python else []
    for side, candidate in programs:
        with setting.start(side, "agreement", candidate) as worker:
            path = setting.job("agreement", candidate, 1)["decoded"]
            decoded[worker.name] = list(np.load(path))
    return {
        name: [psnr(one, other) for one, other in zip(images, wanted, strict=True)]
        for name, images in decoded.items()
    }


def pillow(image: np.ndarray, quality: int) -> np.ndarray:
    """Returns an image as a 4:2:0 file of this quality decodes."""
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    return np.asarray(Image.open(file))


def run(setting: Setting, batches: Sequence[int]) -> dict[str, Any]:
    """Measures, prints as it goes and writes all results."""
    setting.out.mkdir(parents=True, exist_ok=True)
    np.save(setting.out / "images.npy", variations(setting.image))
    results: dict[str, Any] = {"agreement": agreement(setting)}
    report.say(agreement_text(results["agreement"]))
    for batch in batches:
        for measure in MEASURES:
            found = compare(setting, measure, batch)
            results[f"{measure}, batch {batch}"] = found
            report.say(text(f"{measure}, batch {batch}", found))
    with atomic.replacing(setting.out / "results.json") as temporary:
        temporary.write_text(json.dumps(results, indent=1) + "\n")
    return results


def agreement_text(found: dict[str, list[float]]) -> str:
    """Returns the table of `agreement`."""
    heading = "".join(f"{f'Q{quality}':>8s}" for quality in QUALITIES)
    rows = [
        f"{name:24s}" + "".join(f"{value:8.1f}" for value in values)
        for name, values in found.items()
    ]
    return "\n".join([f"{'dB against Pillow':24s}{heading}", *rows, ""])


def text(title: str, found: dict[str, Any]) -> str:
    """Returns the table of one comparison."""
    lines = [f"{title:24s}{'ms':>9s}{'min':>9s}{'max':>9s}{'images/s':>10s}{'MiB':>7s}"]
    for row in found["rows"]:
        times = [row[f"{name}seconds"] for name in ("", "fastest_", "slowest_")]
        lines.append(
            f"{row['name']:24s}"
            + "".join(f"{1e3 * value:9.1f}" for value in times)
            + f"{row['images_per_second']:10.1f}{row['peak_mib']:7.0f}"
        )
    lines += [f"peer {name}: none, {why}" for name, why in found["absent"].items()]
    lines += [_verdict(found, one) for one in found["comparisons"]]
    return "\n".join([*lines, ""])


def _verdict(found: dict[str, Any], one: dict[str, Any]) -> str:
    low, high = one["ratio_per_round"]
    said = f"{one['peer']} over {one['ours']}: {one['ratio']:.1f} x"
    said += f" (rounds {low:.1f} to {high:.1f})"
    if found["target"]:
        reached = "reached" if one["ratio"] >= found["target"] else "NOT reached"
        said += f", target {found['target']} x {reached}"
    if found["outside"] > QUIET:
        said += f"; disturbed, others used up to {found['outside']:.0%} of the machine"
    return said


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Adds the benchmark's flags."""
    flags.DEFINE_bool("peer", True, "Whether to run kornia's.", flag_values=values)
    flags.DEFINE_string(
        "peer_python",
        sys.executable,
        "Interpreter that has torch and kornia.",
        flag_values=values,
    )
    flags.DEFINE_integer("repeats", 7, "Rounds that count.", 1, flag_values=values)
    flags.DEFINE_float(
        "patience",
        60.0,
        "Seconds per comparison to wait for rounds that nothing else disturbs.",
        0.0,
        flag_values=values,
    )
    flags.DEFINE_string(
        "out", "runs/benchmark_jpeg_codec", "Folder of results.", flag_values=values
    )


def main(argv: Sequence[str]) -> None:
    """Runs the benchmark."""
    if len(argv) > 1:
        raise app.UsageError(f"unexpected arguments: {argv[1:]}")
    from skimage import data

    values = flags.FLAGS
    setting = Setting(
        image=data.astronaut(),
        repeats=values.repeats,
        patience=values.patience,
        peer_python=values.peer_python if values.peer else None,
        out=Path(values.out).absolute(),
    )
    try:
        run(setting, BATCHES)
    except WorkerError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


if __name__ == "__main__":
    define_flags()
    app.run(main)
