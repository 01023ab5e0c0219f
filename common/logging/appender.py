"""An append-only file that outlives a full disk."""

import errno
import os
import stat
from pathlib import Path

from absl import logging


class Appender:
    """Appends whole records to a file and never raises because of the disk.

    A record goes out in one write. When a write fails or is cut short, the file is
    closed; the next append opens it again and first cuts off what the failed one
    left, so the file only ever holds whole records and at most one broken tail.
    """

    def __init__(self, path: str | os.PathLike[str], size: int = 0):
        """Remembers the file; nothing is opened before the first record.

        Args:
          path: The file to append to; missing parent folders are made.
          size: Bytes at the start of the file to keep; the rest is cut off.
        """
        self._path = Path(path)
        self._good = size
        self._file: int | None = None
        self._warned = False

    @property
    def size(self) -> int:
        """Bytes known to be good."""
        return self._good

    def append(self, record: bytes) -> bool:
        """Appends `record` with one write; False (and one warning) when it failed."""
        try:
            if self._file is None:
                self._file = self._open()
            if os.write(self._file, record) != len(record):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            self._fail(error)
            return False
        self._good += len(record)
        return True

    def sync(self) -> None:
        """Asks the system to move everything written so far to the disk."""
        if self._file is None:
            return
        try:
            os.fsync(self._file)
        except OSError as error:
            # EINVAL: a pipe or a device, which has nothing to synchronise.
            if error.errno != errno.EINVAL:
                self._fail(error)

    def close(self) -> None:
        """Closes the file; a later append would open it again."""
        if self._file is not None:
            descriptor, self._file = self._file, None
            try:
                os.close(descriptor)
            except OSError as error:
                self._warn(error)

    def _open(self) -> int:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        descriptor = os.open(self._path, flags, 0o666)
        try:
            status = os.fstat(descriptor)
            if stat.S_ISREG(status.st_mode):
                # Someone may have emptied or removed the file meanwhile.
                self._good = min(self._good, status.st_size)
                os.ftruncate(descriptor, self._good)
        except OSError:
            os.close(descriptor)
            raise
        return descriptor

    def _fail(self, error: OSError) -> None:
        self.close()
        self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            self._warned = True
            logging.warning(
                "Cannot write %s (%s); training goes on and later records are tried "
                "again.",
                self._path,
                error.strerror or error,
            )
