"""Work on one image after the other, whatever becomes of each of them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from absl import logging
from tqdm import tqdm

from common.errors import DataError
from common.restoration import pictures
from common.restoration.files import Job
from common.restoration.pictures import Picture


def say(line: str) -> None:
    """Writes a result to stdout; logs go to stderr."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def each(
    jobs: Sequence[Job],
    work: Callable[[Job, Picture], str],
    say: Callable[[str], None] = say,
) -> list[Job]:
    """Reads every image and works on it; what goes wrong is logged and skipped.

    Args:
      jobs: the images.
      work: does it, and returns what there is to say about it. It may raise
        `DataError`, `OSError` or `MemoryError`.
      say: gets that line, with the seconds it took.

    Returns:
      The images that were skipped.
    """
    failed = []
    with tqdm(total=len(jobs), unit="image", disable=not sys.stderr.isatty()) as bar:
        for job, picture in _read_ahead(jobs):
            began = time.perf_counter()
            try:
                line = work(job, picture.result())
            except (DataError, OSError, MemoryError) as error:
                failed.append(job)
                with bar.external_write_mode():
                    reason = str(error) or "no memory left"
                    logging.error("%s: %s", job.source, reason)
            else:
                seconds = time.perf_counter() - began
                with bar.external_write_mode():
                    say(f"{line}, {seconds:.2f} s")
            bar.update()
    return failed


def check_all(jobs: Sequence[Job], failed: Sequence[Job], done: str) -> None:
    """Says at the end that images were skipped.

    Args:
      jobs: the images.
      failed: those that were skipped.
      done: what the others were, for the message.

    Raises:
      DataError: some were.
    """
    if failed:
        raise DataError(
            f"{len(failed)} of {len(jobs)} images were not {done}: "
            f"{', '.join(str(job.source) for job in failed[:3])}"
            f"{', ...' if len(failed) > 3 else ''}"
        )


def _read_ahead(jobs: Sequence[Job]) -> Iterator[tuple[Job, Future[Picture]]]:
    """Reads the next image during the work on one; no more, for the memory."""
    with ThreadPoolExecutor(1) as reader:
        waiting: list[tuple[Job, Future[Picture]]] = []
        for job in jobs:
            waiting.append((job, reader.submit(pictures.read, job.source)))
            if len(waiting) == 2:
                yield waiting.pop(0)
        yield from waiting
