"""Weights as users name them: files, folders, published names; the command line."""

import hashlib
import zipfile

import numpy as np
import pytest
from safetensors import numpy as safetensors

from common import download
from common.checkpoint import matching
from common.checkpoint import weights as release
from common.errors import ConfigError, DataError
from maxim import convert, models, published
from maxim.convert import __main__ as cli
from maxim.convert import cache, files
from tests.common import commands
from tests.common.files_over_http import serve
from tests.maxim import weights


@pytest.fixture(scope="module")
def model():
    return weights.small()


@pytest.fixture(scope="module")
def official(model):
    return weights.arrays(weights.shapes(model))


@pytest.fixture(scope="module")
def ours(official):
    """Flat, with our names."""
    return {
        "params/" + name.removeprefix("opt/target/"): array
        for name, array in official.items()
        if name.startswith("opt/target/")
    }


def check_equal(arrays, wanted):
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        assert arrays[name].dtype == array.dtype, name
        np.testing.assert_array_equal(arrays[name], array, name)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
@pytest.mark.parametrize("whose", ["official", "ours", "bare"])
def test_a_file_is_recognised_by_its_names(
    tmp_path, model, official, ours, suffix, whose
):
    path = tmp_path / f"weights{suffix}"
    given = {
        "official": official,
        "ours": ours,
        "bare": {name.removeprefix("params/"): a for name, a in ours.items()},
    }[whose]
    if suffix == ".npz":
        np.savez(path, **given)
    else:
        safetensors.save_file(given, path)
    check_equal(files.load(str(path)), ours)
    check_equal(convert.read(str(tmp_path), model), ours)  # as the folder of a run
    params = convert.from_npz(path, model)
    check_equal(dict(matching.leaves({"params": params})), ours)


def test_half_precision_is_read_exactly(tmp_path, ours):
    halves = {name: array.astype(np.float16) for name, array in ours.items()}
    np.savez(tmp_path / "w.npz", **halves)
    wanted = {name: array.astype(np.float32) for name, array in halves.items()}
    check_equal(files.load(str(tmp_path / "w.npz")), wanted)


def test_optimiser_state_is_skipped_whatever_it_is(tmp_path, official, ours):
    """Numbers of every kind, even what would need pickle: nothing decodes it."""
    path = tmp_path / "checkpoint.npz"
    strange = {
        "opt/state/count": np.int64(3),
        "opt/state/flags": np.array([True]),
        "opt/state/text": np.array(["adam"]),
        "opt/state/object": np.array([None]),
    }
    np.savez(path, **official, **strange)
    check_equal(files.load(str(path)), ours)
    # Even one that is broken, or of a size that no memory holds.
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("opt/state/broken.npy", b"not an array")
    check_equal(files.load(str(path)), ours)


def test_pickled_parameters_are_refused(tmp_path, official):
    path = tmp_path / "checkpoint.npz"
    np.savez(path, **official, **{"opt/target/a/kernel": np.array([None])})
    with pytest.raises(ConfigError, match="dtype object"):
        files.load(str(path))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/w.npz", r"^no weights: searched /no/w\.npz$"),
        (".", r"searched weights\.safetensors, weights\.npz$"),
        ("Denoising/SIDD", r"searched Denoising/SIDD; did you mean maxim:Denoising/S"),
        ("deblurring", r"searched deblurring; did you mean maxim:deblurring\?$"),
        ("maxim:Denoising/SID", r"unknown MAXIM .* did you mean 'Denoising/SIDD'"),
        ("maxim:", r"unknown MAXIM task or checkpoint ''"),
    ],
)
def test_what_is_not_there_is_explained(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message):
        files.load(source)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_file_that_was_cut_off_is_one_line(tmp_path, official, share):
    np.savez(tmp_path / "w.npz", **official)
    content = (tmp_path / "w.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ConfigError, match=r"cut\.npz is truncated or broken") as caught:
        convert.from_npz(tmp_path / "cut.npz")
    assert "\n" not in str(caught.value)


def test_reading_for_another_model_names_the_flag(tmp_path, ours):
    np.savez(tmp_path / "w.npz", **ours)
    with pytest.raises(ConfigError, match=r"w\.npz is of a MAXIM .*set --config\.mod"):
        convert.read(str(tmp_path / "w.npz"), weights.small(features=8))


SIDD = "Denoising/SIDD"


@pytest.fixture
def folder(tmp_path, monkeypatch, model):
    """The checkpoint's place in an empty cache; its variant is the small model."""
    monkeypatch.setenv(download.CACHE, str(tmp_path / "cache"))
    monkeypatch.delenv(download.OFFLINE, raising=False)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    monkeypatch.setattr(cache.models, "create", lambda *args, **kwargs: model)
    return tmp_path / "cache" / "maxim" / "Denoising" / "SIDD"


@pytest.fixture
def published_file(tmp_path, official, monkeypatch):
    """Content of the official file, and a way to serve it in the place of Google."""
    np.savez(tmp_path / "source.npz", **official)

    def at(url):
        monkeypatch.setattr(published.Checkpoint, "url", url)

    return (tmp_path / "source.npz").read_bytes(), at


def test_a_published_name_is_fetched_once_and_kept_small(
    folder, published_file, model, ours
):
    content, at = published_file
    with serve(content) as (url, seen):
        at(url)
        for name in ("maxim:Denoising/SIDD", "maxim:denoising"):
            check_equal(convert.read(name, model), ours)
        assert len(seen) == 1
    kept = folder / "weights.safetensors"
    side = f"{kept.name}.sha256"
    assert {file.name for file in folder.iterdir()} == {kept.name, side}
    assert kept.stat().st_size < len(content) / 2
    check_equal(release.load(kept), ours)


def test_a_file_put_there_by_hand_is_taken_offline_and_left(
    folder, published_file, model, ours, monkeypatch
):
    content, _ = published_file
    monkeypatch.setenv(download.OFFLINE, "1")
    with pytest.raises(DataError) as caught:
        convert.read("maxim:denoising", model)
    url = "https://storage.googleapis.com/gresearch/maxim/ckpt/Denoising/SIDD"
    assert str(caught.value) == (
        f"{url}/checkpoint.npz is needed, but MULTIAXIS_OFFLINE is set; download it "
        f"elsewhere and put it at {folder / 'checkpoint.npz'}"
    )
    folder.mkdir(parents=True)
    (folder / "checkpoint.npz").write_bytes(content)
    check_equal(convert.read("maxim:denoising", model), ours)
    assert (folder / "weights.safetensors").is_file()
    assert (folder / "checkpoint.npz").read_bytes() == content


def test_what_is_not_the_published_file_is_refused_and_not_kept(
    folder, published_file, model
):
    content, at = published_file
    for body, message in (
        (b"<html>log in to the network</html>", "truncated or broken"),
        (content[:-1000], "truncated or broken"),
    ):
        with serve(body) as (url, _):
            at(url)
            with pytest.raises(ConfigError, match=f"not the file of {url}.*{message}"):
                convert.read("maxim:denoising", model)
        assert list(folder.iterdir()) == []


def test_a_published_file_must_fit_its_variant(folder, official, tmp_path, monkeypatch):
    folder.mkdir(parents=True)
    name = next(n for n in official if n.endswith("Conv_0/bias"))
    np.savez(folder / "checkpoint.npz", **official | {name: np.zeros(77, np.float32)})
    with pytest.raises(ConfigError, match=r"not the file of .*mismatched params/"):
        files.load("maxim:denoising")
    assert {file.name for file in folder.iterdir()} == {"checkpoint.npz"}


def test_a_broken_cache_says_what_to_delete(folder, published_file, model):
    folder.mkdir(parents=True)
    (folder / "checkpoint.npz").write_bytes(published_file[0])
    convert.read("maxim:denoising", model)
    kept = folder / "weights.safetensors"
    content = bytearray(kept.read_bytes())
    content[-1] ^= 1
    kept.write_bytes(content)
    with pytest.raises(ConfigError, match=rf"SHA-256.*delete {kept} to have it f"):
        convert.read("maxim:denoising", model)


def test_another_variant_is_refused_before_the_download(monkeypatch):
    monkeypatch.setattr(download, "fetch", lambda *a, **k: pytest.fail("fetched"))
    with pytest.raises(ConfigError, match=r"^maxim:denoising is of a MAXIM S-3 .*S-3$"):
        convert.read("maxim:denoising", models.create("S-2"))


@pytest.mark.parametrize(
    "suffixes", [(".npz", ".safetensors"), (".safetensors", ".npz")]
)
def test_command_round_trip_is_bit_exact(tmp_path, capsys, official, ours, suffixes):
    source = tmp_path / "checkpoint.npz"
    np.savez(source, **official)
    mine, back = (tmp_path / "new" / f"w{suffix}" for suffix in suffixes)
    code, out, err = commands.run(cli.main, capsys, source, mine)
    assert (code, err) == (0, "")
    digest = hashlib.sha256(mine.read_bytes()).hexdigest()
    assert out == f"{mine}: {len(ours)} arrays, SHA-256 {digest}\n"
    check_equal(release.load(mine), ours)

    assert commands.run(cli.main, capsys, mine, back, "--to=official")[0] == 0
    if back.suffix == ".npz":  # as the official code reads it
        with np.load(back, allow_pickle=False) as archive:
            read = dict(archive)
    else:
        read = safetensors.load_file(back)
    wanted = {n: a for n, a in official.items() if n.startswith("opt/target/")}
    check_equal(read, wanted)


def test_command_refuses_in_one_line(tmp_path, capsys, ours):
    path, dest = tmp_path / "w.npz", tmp_path / "out.safetensors"
    np.savez(path, **ours)
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    cases = (
        ([path, dest, "--to=timm"], "should be one of"),
        (["maxim:denoise", dest], "did you mean 'denoising'?"),
        ([tmp_path / "other.npz", dest], "holds no weights of a MAXIM"),
    )
    commands.check_refusals(cli.main, capsys, cases)
    assert not dest.exists()


def test_command_helps_at_once():
    heavy = {"jax", "flax", "orbax"}
    commands.check_help("maxim.convert", heavy, "--to=multiaxis|official")
