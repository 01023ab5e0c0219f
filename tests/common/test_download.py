"""Downloads over connections that break, from servers that refuse; no network."""

import base64
import errno
import hashlib
import logging
import socket

import numpy as np
import pytest

from common import download
from common.errors import ConfigError, DataError
from tests.common.files_over_http import serve

CONTENT = np.random.default_rng(0).bytes(1_000_000)
OTHER = np.random.default_rng(1).bytes(2_200_000)  # half of it is longer


@pytest.fixture(autouse=True)
def waited(monkeypatch):
    """How long it would have waited between attempts."""
    seconds = []
    monkeypatch.setattr(download.time, "sleep", seconds.append)
    monkeypatch.delenv("MULTIAXIS_OFFLINE", raising=False)
    return seconds


@pytest.fixture
def path(tmp_path):
    return tmp_path / "new" / "w.npz"


def only(path):
    """Whether nothing lies beside it."""
    return [file.name for file in path.parent.iterdir()] == [path.name]


def test_a_file_arrives_whole(path, waited):
    with serve(CONTENT) as (url, seen):
        download.fetch(url, path)
    assert path.read_bytes() == CONTENT
    assert (len(seen), waited, only(path)) == (1, [], True)


def test_a_broken_connection_is_taken_up_where_it_ended(path, waited, caplog):
    with serve(CONTENT, ["cut", 503, "cut"]) as (url, seen):
        download.fetch(url, path)
    assert path.read_bytes() == CONTENT
    ranges = [request.get("Range") for request in seen]
    assert ranges == [None, "bytes=500000-", "bytes=500000-", "bytes=750000-"]
    assert waited == [1, 2, 4]
    assert "500000 of 1000000 bytes arrived" in caplog.text


def test_a_file_that_changed_meanwhile_is_begun_anew(path):
    with serve(CONTENT, [OTHER]) as (url, seen):
        download.fetch(url, path)
    assert seen[1]["Range"] == "bytes=1100000-"
    assert path.read_bytes() == CONTENT


def test_another_part_than_asked_for_is_not_taken(path):
    with serve(CONTENT, ["cut", "first"]) as (url, seen):
        download.fetch(url, path)
    ranges = [request.get("Range") for request in seen]
    assert ranges == [None, "bytes=500000-", None]
    assert path.read_bytes() == CONTENT


def test_parts_of_two_versions_are_never_joined(path):
    with serve(CONTENT, [OTHER], if_range=False) as (url, seen):
        download.fetch(url, path)
    ranges = [request.get("Range") for request in seen]
    assert ranges == [None, "bytes=1100000-", None]
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_a_refusal_is_not_repeated(path, status):
    with (
        serve(CONTENT, [status]) as (url, seen),
        pytest.raises(DataError) as caught,
    ):
        download.fetch(url, path, by_hand=path.with_name("hand.npz"))
    assert len(seen) == 1
    message = str(caught.value)
    assert message.startswith(f"cannot download {url}: HTTP Error {status}")
    assert message.endswith(f"elsewhere and put it at {path.with_name('hand.npz')}")
    assert list(path.parent.iterdir()) == []


def test_it_gives_up_in_the_end_and_keeps_what_was_there(path, waited):
    path.parent.mkdir()
    path.write_bytes(b"old")
    with serve(CONTENT, [500] * 9) as (url, seen), pytest.raises(DataError):
        download.fetch(url, path)
    assert len(seen) == len(waited) + 1 == 5
    assert path.read_bytes() == b"old"
    assert only(path)


@pytest.mark.parametrize("good", [True, False])
def test_the_hash_of_googles_storage_is_checked(path, good):
    md5 = base64.b64encode(hashlib.md5(CONTENT if good else OTHER).digest()).decode()
    headers = [("x-goog-hash", "crc32c=AAAAAA=="), ("x-goog-hash", f"md5={md5}")]
    with serve(CONTENT, headers=headers) as (url, seen):
        if good:
            download.fetch(url, path)
            assert path.read_bytes() == CONTENT
        else:
            with pytest.raises(DataError, match="damaged"):
                download.fetch(url, path)
            # Every attempt asks for all of it.
            assert [request.get("Range") for request in seen] == [None] * 5


def test_no_server_is_one_line(path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        url = f"http://localhost:{free.getsockname()[1]}/w.npz"
    with pytest.raises(DataError, match=r"Connection refused") as caught:
        download.fetch(url, path)
    assert "\n" not in str(caught.value)


def test_offline_asks_nobody(path, monkeypatch):
    monkeypatch.setenv("MULTIAXIS_OFFLINE", "1")
    with serve(CONTENT) as (url, seen):
        with pytest.raises(DataError) as caught:
            download.fetch(url, path)
        assert seen == []
        assert str(caught.value) == (
            f"{url} is needed, but MULTIAXIS_OFFLINE is set; download it elsewhere and "
            f"put it at {path}"
        )
        monkeypatch.setenv("MULTIAXIS_OFFLINE", "0")
        download.fetch(url, path)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch, waited):
    (tmp_path / "file").write_text("")
    with serve(CONTENT) as (url, _):
        with pytest.raises(ConfigError, match=r"cannot write .*MULTIAXIS_CACHE names"):
            download.fetch(url, tmp_path / "file" / "w.npz")

        def full(self, response):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(download._Transfer, "_copy", full)
        with pytest.raises(ConfigError, match=r"w\.npz: No space left on device"):
            download.fetch(url, tmp_path / "w.npz")
    assert waited == []


def test_the_cache_can_be_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("MULTIAXIS_CACHE", str(tmp_path))
    assert download.cache_folder() == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for value in ("~/x", ""):
        monkeypatch.setenv("MULTIAXIS_CACHE", value)
        folder = "x" if value else ".cache/multiaxis"
        assert download.cache_folder() == tmp_path / "home" / folder


def test_what_is_fetched_is_logged(path, caplog):
    caplog.set_level(logging.INFO, "absl")
    with serve(CONTENT) as (url, _):
        download.fetch(url, path)
    assert f"downloading {url} to {path}" in caplog.text
