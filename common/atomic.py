"""Files that appear whole or not at all, whenever the process is killed."""

import contextlib
import os
import secrets
from collections.abc import Generator
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Generator[Path, None, None]:
    """Yields a temporary path beside `path`, which takes its place on success.

    The data reaches the disk before the rename, so a power cut cannot leave an empty
    file under the final name. When the body raises, `path` stays as it was.

    Args:
      path: The file to create or replace; missing parent folders are made.

    Yields:
      A path in the same folder with the same suffix, for the body to write.

    Raises:
      OSError: The file system refused.
    """
    # A link is followed: the file it names is replaced, not the link.
    target = Path(os.path.realpath(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{secrets.token_hex(4)}.tmp.{target.name}")
    try:
        yield temporary
        descriptor = os.open(temporary, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
