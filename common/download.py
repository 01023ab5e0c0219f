"""Published files from the network into a cache folder, whole or not at all."""

from __future__ import annotations

import base64
import hashlib
import http.client
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, BinaryIO

from absl import logging

from common import atomic
from common.errors import ConfigError, DataError

CACHE = "MULTIAXIS_CACHE"
OFFLINE = "MULTIAXIS_OFFLINE"
_ATTEMPTS = 5
_TIMEOUT = 30.0  # seconds without a byte
_CHUNK = 2**18
# What a flaky connection raises. A full disk is a plain OSError and is not repeated.
_NETWORK = (
    urllib.error.URLError,
    http.client.HTTPException,
    ConnectionError,
    TimeoutError,
    ssl.SSLError,
)


def cache_folder() -> Path:
    """Returns where downloads are kept: `$MULTIAXIS_CACHE`, else in `~/.cache`."""
    return Path(os.environ.get(CACHE) or "~/.cache/multiaxis").expanduser()


def fetch(url: str, path: Path, by_hand: Path | None = None) -> None:
    """Downloads a file; a connection that breaks off is taken up where it ended.

    The size is compared with what the server announced, the content with the MD5 that
    Google's storage sends along. Proxies are taken from the environment, and
    `MULTIAXIS_OFFLINE=1` there forbids the network.

    Args:
      url: of the file.
      path: where it goes; replaced atomically.
      by_hand: where users may put it themselves, if not there.

    Raises:
      ConfigError: `path` cannot be written.
      DataError: the file cannot be had; it says where to put it by hand.
    """
    hint = f"download it elsewhere and put it at {by_hand or path}"
    if os.environ.get(OFFLINE, "0") not in ("", "0"):
        raise DataError(f"{url} is needed, but {OFFLINE} is set; {hint}")
    logging.info("downloading %s to %s", url, path)
    try:
        with atomic.replacing(path) as temporary, temporary.open("w+b") as file:
            _Transfer(url, file).run()
    except _NETWORK as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"cannot download {url}: {cause}; {hint}") from error
    except OSError as error:
        raise ConfigError(
            f"cannot write {path}: {error.strerror or error}; {CACHE} names another "
            "folder for downloads"
        ) from error


class _Transfer:
    """One download, over as many connections as it takes."""

    def __init__(self, url: str, file: BinaryIO):
        self._url = url
        self._file = file
        self._total: int | None = None
        self._etag: str | None = None
        self._md5: str | None = None

    def run(self) -> None:
        """Tries until the file is whole, or the error is not one that passes."""
        for attempt in range(_ATTEMPTS):
            try:
                return self._connect()
            except _NETWORK as error:
                if attempt + 1 == _ATTEMPTS or not _passes(error):
                    raise
                logging.warning(
                    "%s after %d bytes: %s; going on",
                    self._url,
                    self._file.tell(),
                    error,
                )
            time.sleep(2**attempt)
        return None

    def _connect(self) -> None:
        """Reads to the end what is still missing, over one connection."""
        headers = {"User-Agent": "multiaxis"}
        if self._file.tell() and self._etag:
            # A server whose file has changed sends all of the new one.
            headers["Range"] = f"bytes={self._file.tell()}-"
            headers["If-Range"] = self._etag
        request = urllib.request.Request(self._url, headers=headers)
        with urllib.request.urlopen(request, timeout=_TIMEOUT) as response:
            if not self._continues(response):
                self._begin(response)
            self._copy(response)
        done = self._file.tell()
        if self._total is not None and done != self._total:
            raise ConnectionError(f"{done} of {self._total} bytes arrived")
        self._check_md5()

    def _continues(self, response: Any) -> bool:
        """Whether the answer is the rest of the same content."""
        place = re.match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
        return (
            response.status == http.client.PARTIAL_CONTENT
            and place is not None
            and int(place[1]) == self._file.tell()
            and response.headers.get("ETag") == self._etag
        )

    def _begin(self, response: Any) -> None:
        """Forgets what came before: the answer starts with the first byte."""
        if response.status != http.client.OK:
            self._etag = None  # the next answer is asked for in full
            raise http.client.HTTPException(f"unexpected answer {response.status}")
        self._file.seek(0)
        self._file.truncate()
        length = response.headers.get("Content-Length")
        self._total = None if length is None else int(length)
        etag = response.headers.get("ETag")
        # A weak one does not promise the same bytes.
        self._etag = None if etag is None or etag.startswith("W/") else etag
        hashes = ",".join(response.headers.get_all("x-goog-hash", []))
        found = re.search(r"md5=([\w+/]+=*)", hashes)
        self._md5 = None if found is None else found[1]

    def _copy(self, response: Any) -> None:
        import tqdm

        name = self._url.rpartition("/")[2]
        with tqdm.tqdm(
            desc=name,
            total=self._total,
            initial=self._file.tell(),
            unit="B",
            unit_scale=True,
            disable=None,  # where stderr is no terminal
        ) as bar:
            while chunk := response.read(_CHUNK):
                self._file.write(chunk)
                bar.update(len(chunk))

    def _check_md5(self) -> None:
        if self._md5 is None:
            return
        self._file.seek(0)
        digest = hashlib.md5(usedforsecurity=False)
        while chunk := self._file.read(_CHUNK):
            digest.update(chunk)
        if base64.b64encode(digest.digest()).decode() != self._md5:
            self._file.seek(0)
            raise ConnectionError("the content arrived damaged, its MD5 differs")


def _passes(error: Exception) -> bool:
    """Whether trying again can help: not when the server refused."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500 or error.code in (408, 429)
    return True
