"""`--mode=apply`: every image of a folder becomes a JPEG file with given tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from absl import logging

from common import tables as text_tables
from common.errors import ConfigError
from common.restoration import walk
from common.restoration.files import Job
from common.restoration.pictures import Picture
from compression import flags, folder, jpeg, tables
from compression.evaluation import Coding


def run(workdir: str | None) -> str:
    """Encodes what the flags name, and prints one line for each image.

    What cannot be is reported and skipped. The output folder gets `files.md` and
    `files.csv`, too.

    Args:
      workdir: None; results go where `--output` says.

    Returns:
      Bytes, rate and PSNR of all files.

    Raises:
      ConfigError: flags or tables that cannot be.
      DataError: nothing can be read, or, at the end, not every image was.
    """
    options = flags.apply_options()
    if workdir is not None:
        raise ConfigError("--mode=apply takes no --workdir; results go to --output")
    pair, subsampling = _tables(options)
    coding = Coding(subsampling, options.optimize_huffman)
    jobs = folder.plan(options.input, options.output)
    rows: list[folder.Row] = []

    def work(job: Job, picture: Picture) -> str:
        photo = folder.photo(picture)
        content = photo.coded(coding).encode(photo.pixels, pair)
        rows.append(folder.write(job, photo, content))
        return rows[-1].line()

    failed = walk.each(jobs, work)
    if rows:
        cells = folder.table(rows, options.output)
        text_tables.write({"files": cells}, str(Path(options.output).expanduser()))
    walk.check_all(jobs, failed, "encoded")
    return folder.summary(rows)


def _tables(options: flags.ApplyOptions) -> tuple[np.ndarray, str]:
    """Returns the tables and the subsampling, which a file of tables can name."""
    if options.tables is None:
        assert options.quality is not None  # ApplyOptions
        return jpeg.quality_tables(options.quality), options.subsampling or "4:4:4"
    made_for = tables.subsampling_of(options.tables)
    subsampling = options.subsampling or made_for or "4:4:4"
    if made_for not in (None, subsampling):
        logging.warning(
            "%s was made for %s, not %s", options.tables, made_for, subsampling
        )
    return tables.read(options.tables), subsampling
