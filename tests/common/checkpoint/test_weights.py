"""Release weights: exact round trips, hostile files."""

import hashlib
import io
import pickle
import re
import zipfile

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from common.checkpoint import matching, weights
from common.errors import ConfigError, DataError

_SUFFIXES = (".safetensors", ".npz")


def _variables():
    return {
        "params": {
            "stem": {"kernel": np.arange(6, dtype=np.float32).reshape(2, 3).T},
            "head": {"bias": jnp.arange(3, dtype=jnp.bfloat16), "file": np.int32(7)},
        },
        "batch_stats": {"mean": np.zeros((0, 2), ">f8")},
    }


def _npz(path, entries):
    """A zip of raw entries, as an attacker would write it."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return path


def _npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_round_trip_is_exact(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    digest = weights.save(path, _variables())
    loaded = weights.load(path, sha256=digest.upper())
    assert set(loaded) == {
        "params/stem/kernel",
        "params/head/bias",
        "params/head/file",
        "batch_stats/mean",
    }
    np.testing.assert_array_equal(
        loaded["params/stem/kernel"], [[0, 3], [1, 4], [2, 5]]
    )
    assert loaded["params/head/file"].shape == ()
    assert loaded["batch_stats/mean"].shape == (0, 2)
    stored = ml_dtypes.bfloat16 if suffix == ".safetensors" else np.float32
    assert loaded["params/head/bias"].dtype == stored
    variables, report = matching.match(_variables(), loaded)
    report.raise_if_any()
    assert variables["params"]["head"]["bias"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(variables["params"]["head"]["bias"], [0, 1, 2])


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_checksum_file_is_in_sha256sum_format_and_is_checked(tmp_path, suffix):
    path = tmp_path / f"w{suffix}"
    digest = weights.save(path, {"a": np.ones(3)})
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    side = tmp_path / f"w{suffix}.sha256"
    assert side.read_text() == f"{digest}  w{suffix}\n"
    with pytest.raises(ConfigError, match="SHA-256"):
        weights.load(path, sha256="0" * 64)
    side.write_text("1" * 64 + f"  w{suffix}\n")
    with pytest.raises(ConfigError, match="expected 1111"):
        weights.load(path)
    # A checksum that the caller brings counts more than the one lying beside.
    assert weights.load(path, sha256=digest)["a"].sum() == 3
    with pytest.raises(ConfigError, match="64 hexadecimal"):
        weights.load(path, sha256="abc")


def test_existing_file_survives_a_failed_save(tmp_path):
    path = tmp_path / "w.npz"
    weights.save(path, {"a": np.ones(3)})
    with pytest.raises(ConfigError, match="dtype object"):
        weights.save(path, {"a": np.array([object()])})
    assert weights.load(path)["a"].sum() == 3
    assert len(list(tmp_path.iterdir())) == 2


def test_unknown_suffix_and_missing_file(tmp_path):
    for call in (weights.load, lambda path: weights.save(path, {})):
        with pytest.raises(ConfigError, match=r"'\.pkl', allowed: \.safetensors"):
            call(tmp_path / "w.pkl")
    with pytest.raises(DataError, match=re.escape(str(tmp_path / "no.npz"))):
        weights.load(tmp_path / "no.npz")


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_a_run_folder_stands_for_its_weights(tmp_path, suffix):
    with pytest.raises(DataError, match=r"weights\.safetensors, .*weights\.npz"):
        weights.find(tmp_path)
    file = tmp_path / f"weights{suffix}"
    weights.save(file, {"a": np.ones(1)})
    assert weights.find(tmp_path) == weights.find(file) == file


@pytest.mark.parametrize("suffix", _SUFFIXES)
def test_only_what_is_selected_is_read(tmp_path, suffix, monkeypatch):
    path = tmp_path / f"w{suffix}"
    weights.save(path, {"a": np.ones(3), "b": {"c": np.zeros(100_000)}})
    seen = []
    # Less than all, more than is wanted; safetensors is checked as a whole.
    if suffix == ".npz":
        monkeypatch.setattr(weights, "_MAX_BYTES", 1000)

    def select(names):
        seen.extend(names)
        return [name for name in names if name == "a"]

    assert weights.load(path, select=select).keys() == {"a"}
    assert sorted(seen) == ["a", "b/c"]


@pytest.mark.parametrize("suffix", _SUFFIXES)
@pytest.mark.parametrize("share", [0, 0.05, 0.5, 0.99])
def test_truncated_file_is_one_line(tmp_path, suffix, share):
    whole, path = tmp_path / f"w{suffix}", tmp_path / f"cut{suffix}"
    weights.save(whole, {"a": np.arange(1000.0), "b": np.ones((3, 3))})
    content = whole.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ConfigError, match=r"cut\.\w+") as caught:
        weights.load(path)
    assert "\n" not in str(caught.value)


class _Payload:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_pickled_arrays_are_refused_and_do_not_run(tmp_path):
    victim = tmp_path / "victim"
    array = np.array([_Payload(victim)], dtype=object)
    header = _npy(array, allow_pickle=True)
    pickle.loads(pickle.dumps(_Payload(victim))).close()
    assert victim.exists()  # The payload works when unpickled.
    victim.unlink()
    for entry in (header, pickle.dumps(_Payload(victim))):
        path = _npz(tmp_path / "evil.npz", {"a.npy": entry})
        with pytest.raises(ConfigError, match=r"evil\.npz|dtype object"):
            weights.load(path)
    structured = _npy(np.zeros(2, [("x", "f4"), ("y", "i4")]))
    with pytest.raises(ConfigError, match="dtype"):
        weights.load(_npz(tmp_path / "evil.npz", {"a.npy": structured}))
    assert not victim.exists()


@pytest.mark.parametrize(
    "name", ["../a", "/a", "a//b", "a/../b", "a\\b", "a\0b", "..", "a/", "./a"]
)
def test_unsafe_names_are_refused(tmp_path, name):
    from safetensors import numpy as safetensors

    target = f"{name}.npy"
    path = _npz(tmp_path / "w.npz", {"x" * len(target): _npy(np.ones(1))})
    # Written by hand: the zip module would tidy some of these names itself.
    content = path.read_bytes().replace(b"x" * len(target), target.encode())
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="unsafe entry name"):
        weights.load(path)
    other = tmp_path / "w.safetensors"
    safetensors.save_file({name: np.ones(1)}, other)
    with pytest.raises(ConfigError, match="unsafe entry name"):
        weights.load(other)


def test_zip_bomb_is_refused_from_its_headers(tmp_path, monkeypatch):
    bomb = tmp_path / "bomb.npz"
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", _npy(np.zeros(4_000_000)))
    assert bomb.stat().st_size < 100_000
    monkeypatch.setattr(weights, "_MAX_BYTES", 1_000_000)
    monkeypatch.setattr(np, "load", lambda *a, **k: pytest.fail("it was read"))
    with pytest.raises(ConfigError, match="more than the limit"):
        weights.load(bomb)


def test_entries_that_are_no_arrays_or_come_twice_are_refused(tmp_path):
    path = _npz(tmp_path / "w.npz", {"a.npy": _npy(np.ones(1)), "b.txt": b""})
    with pytest.raises(ConfigError, match=r"entry 'b\.txt' is no array"):
        weights.load(path)
    path = _npz(path, {"a.npy": _npy(np.ones(1)), "b.npy": _npy(np.zeros(1))})
    path.write_bytes(path.read_bytes().replace(b"b.npy", b"a.npy"))
    with pytest.raises(ConfigError, match=r"entry 'a\.npy' .* comes twice"):
        weights.load(path)


def test_array_header_that_announces_too_much_is_refused(tmp_path):
    buffer = io.BytesIO()
    header = {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
    np.lib.format.write_array_header_1_0(buffer, header)
    path = _npz(tmp_path / "w.npz", {"a.npy": buffer.getvalue() + b"\0" * 16})
    with pytest.raises(ConfigError, match="announces"):
        weights.load(path)


def test_compressed_npz_of_others_loads(tmp_path):
    np.savez_compressed(tmp_path / "w.npz", **{"a/b": np.arange(5)})
    np.testing.assert_array_equal(
        weights.load(tmp_path / "w.npz")["a/b"], [0, 1, 2, 3, 4]
    )


def test_keys_that_cannot_be_joined_are_refused(tmp_path):
    for tree in ({"a/b": np.ones(1)}, {1: np.ones(1)}):
        with pytest.raises(ConfigError, match="key"):
            weights.save(tmp_path / "w.npz", tree)
