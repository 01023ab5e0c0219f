"""Weights as users name them: files, folders, the hub; and the command line."""

import hashlib
import re

import huggingface_hub
import numpy as np
import pytest
from flax import traverse_util
from huggingface_hub import constants
from safetensors import numpy as safetensors

from common.checkpoint import weights
from common.errors import ConfigError, DataError
from maxvit import convert
from maxvit.convert import __main__ as cli
from maxvit.convert import files, hub
from tests.common import commands
from tests.maxvit import tensorflow_names, timm_hash

NAME = "maxvit_tiny_tf_224.in1k"


@pytest.fixture(scope="module")
def state_dict():
    return timm_hash.narrow_state_dict()


@pytest.fixture(scope="module")
def variables(state_dict):
    return convert.from_timm(state_dict)


@pytest.fixture
def write(state_dict, variables, tmp_path):
    """Writes one kind of file and returns its path."""

    def file(kind, name="w", folder=tmp_path):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.{'npz' if kind == 'official' else 'safetensors'}"
        if kind == "timm":
            safetensors.save_file(state_dict, path)
        elif kind == "official":
            np.savez(path, **tensorflow_names.variables(state_dict, head_dim=4))
        else:
            weights.save(path, variables)
        return path

    return file


def check_equal(arrays, variables):
    wanted = traverse_util.flatten_dict(variables, sep="/")
    assert arrays.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(arrays[name], array, name)


@pytest.mark.parametrize("kind", ["timm", "official", "ours"])
@pytest.mark.parametrize("scheme", ["", "timm:"])
def test_a_file_is_recognised_by_its_names(write, variables, kind, scheme):
    check_equal(files.load(f"{scheme}{write(kind)}"), variables)


def test_a_folder_stands_for_the_file_in_it(write, variables, tmp_path, monkeypatch):
    write("timm", "model")
    check_equal(files.load(str(tmp_path)), variables)
    # A path wins over a published name.
    write("timm", "model", tmp_path / NAME)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "fetch", lambda *args: pytest.fail("fetched"))
    check_equal(files.load(f"timm:{NAME}"), variables)
    # A run's own release comes first.
    write("ours", "weights")
    (tmp_path / "model.safetensors").write_bytes(b"")
    check_equal(files.load(str(tmp_path)), variables)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("/no/w.safetensors", r"searched /no/w\.safetensors$"),
        ("timm:/no/w.npz", r"searched /no/w\.npz$"),
        (".", r"weights\.safetensors, .*weights\.npz, .*model\.safetensors$"),
        (NAME, f"did you mean timm:{NAME}"),
        ("timm:maxvit_tiny_tf_224", f"unknown timm weight .* did you mean {NAME!r}"),
        ("timm:maxvit_bse_tf_512.in1k", "did you mean 'maxvit_base_tf_512.in1k'"),
        ("timm:timm/maxvit_bse_tf_512.in1k", "did you mean 'maxvit_base_tf_512.in1k'"),
        ("timm:weights/model", r"no weights: searched weights/model"),
        ("timm:", r"^timm: names no weights; give timm:NAME"),
    ],
)
def test_what_is_not_there_is_explained(source, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=message) as caught:
        files.load(source)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["w.pth", "w.bin", "w.pt", "w.pth.tar", "w.ckpt"])
def test_pickles_are_refused_with_the_way_out(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"\x80\x04.")
    with pytest.raises(ConfigError, match=r"is a pickle.*save_file") as caught:
        files.load(str(path))
    assert "\n" not in str(caught.value)
    assert "weights_only=True" in str(caught.value)


@pytest.mark.parametrize("suffix", ["", ".index", ".data-00000-of-00001"])
def test_a_checkpoint_is_refused_with_the_way_out(tmp_path, suffix):
    for end in (".index", ".data-00000-of-00001"):
        (tmp_path / f"model.ckpt{end}").write_bytes(b"")
    prefix = tmp_path / "model.ckpt"
    with pytest.raises(ConfigError, match=f"dump_tensorflow {prefix} weights.npz$"):
        files.load(f"{prefix}{suffix}")


def test_torchvision_is_refused_by_name_with_the_differences(tmp_path):
    # Names and shapes of torchvision's maxvit_t, as far as they tell.
    state = {
        "stem.0.0.weight": np.zeros((64, 3, 3, 3), np.float32),
        "blocks.0.layers.0.layers.MBconv.proj.1.weight": np.zeros((64, 64, 1, 1)),
        "blocks.0.layers.0.layers.MBconv.layers.pre_norm.weight": np.ones(64),
        "classifier.5.weight": np.zeros((1000, 512), np.float32),
    }
    path = tmp_path / "w.safetensors"
    safetensors.save_file(state, path)
    with pytest.raises(ConfigError, match=r"torchvision's maxvit_t") as caught:
        files.load(str(path))
    for difference in ("pad both sides", "erf", "3 x 3 with padding", "projected"):
        assert difference in str(caught.value)


def test_other_networks_and_broken_files_are_named(write, tmp_path):
    path = tmp_path / "w.safetensors"
    safetensors.save_file({"conv1.weight": np.ones(3)}, path)
    with pytest.raises(ConfigError, match=r"holds no weights of a MaxViT.*conv1"):
        files.load(str(path))
    content = write("timm").read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match=r"w\.safetensors is truncated or broken"):
        files.load(str(path))


@pytest.mark.parametrize(
    "name",
    [
        "stages.3000000000.blocks.0.conv.norm1.weight",
        "stages.0.blocks.20000000000.conv.norm1.weight",
        f"stages.0.blocks.{'9' * 5000}.conv.norm1.weight",
    ],
    ids=len,
)
def test_numbers_without_end_are_unknown_names(state_dict, name):
    with pytest.raises(ConfigError, match=r"1 unknown \(stages\."):
        convert.from_timm({**state_dict, name: np.ones(3, np.float32)})


def test_our_own_names_have_an_end_too(variables):
    flat = traverse_util.flatten_dict(variables, sep="/")
    flat["params/stage1/block20000000000/mbconv/pre_norm/scale"] = np.ones(3)
    with pytest.raises(ConfigError, match=r"1 unknown \(params/stage1/block2"):
        convert.to_timm(traverse_util.unflatten_dict(flat, sep="/"))


@pytest.fixture
def cached(write, tmp_path, monkeypatch):
    """A cache as Hugging Face's library lays it out; no network."""
    cache = tmp_path / "hub"
    repository = cache / f"models--timm--{NAME}"
    revision = "c0ffee" + 34 * "0"
    snapshot = repository / "snapshots" / revision
    source = write("timm", "source")
    blob = repository / "blobs" / hashlib.sha256(source.read_bytes()).hexdigest()
    for folder in (snapshot, blob.parent, repository / "refs"):
        folder.mkdir(parents=True)
    source.rename(blob)
    (snapshot / "model.safetensors").symlink_to(f"../../blobs/{blob.name}")
    (repository / "refs" / "main").write_text(revision)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    return blob


@pytest.mark.usefixtures("cached")
def test_a_published_name_is_read_from_the_cache_offline(variables, caplog):
    assert huggingface_hub.hf_hub_download  # The real library, not a stand-in.
    for source in (f"timm:{NAME}", f"timm:timm/{NAME}"):
        check_equal(files.load(source), variables)
    assert "cannot be checked" not in caplog.text


def test_a_cache_without_links_is_read_with_a_warning(cached, variables, caplog):
    """As it is where the system has no symbolic links."""
    repository = cached.parents[1]
    (link,) = repository.glob("snapshots/*/model.safetensors")
    link.unlink()
    cached.rename(link)
    check_equal(files.load(f"timm:{NAME}"), variables)
    assert f"{link} is no link" in caplog.text
    # Whoever names a file of their own need not be told.
    caplog.clear()
    files.load(str(link))
    assert "cannot be checked" not in caplog.text


def test_a_changed_file_in_the_cache_is_refused(cached):
    content = bytearray(cached.read_bytes())
    content[-1] ^= 1
    cached.write_bytes(content)
    with pytest.raises(ConfigError, match=f"SHA-256 is .*, expected {cached.name}"):
        files.load(f"timm:{NAME}")


def test_a_file_that_differs_from_its_side_file_is_refused(write):
    path = write("timm")
    side = path.with_name(f"{path.name}.sha256")
    side.write_text(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n")
    files.load(f"timm:{path}")
    side.write_text(64 * "1")
    with pytest.raises(ConfigError, match=r"SHA-256 is .*, expected 1111"):
        files.load(f"timm:{path}")


@pytest.mark.usefixtures("cached")
def test_not_cached_and_offline_says_what_was_tried(tmp_path):
    with pytest.raises(DataError) as caught:
        files.load("timm:maxvit_small_tf_224.in1k")
    message = str(caught.value)
    assert "\n" not in message
    for part in (
        "no model.safetensors of huggingface.co/timm/maxvit_small_tf_224.in1k",
        f"searched the cache {tmp_path / 'hub'}",
        "timm:PATH/model.safetensors",
    ):
        assert part in message


def test_command_converts_in_both_directions(
    write, capsys, state_dict, variables, tmp_path
):
    ours, theirs = tmp_path / "ours.npz", tmp_path / "new" / "timm.safetensors"
    words = (write("official"), ours, "--to=multiaxis")
    code, out, err = commands.run(cli.main, capsys, *words)
    assert (code, err) == (0, "")
    digest = hashlib.sha256(ours.read_bytes()).hexdigest()
    assert re.fullmatch(rf"{ours}: \d+ arrays, SHA-256 {digest}\n", out)
    assert ours.with_name("ours.npz.sha256").read_text().startswith(digest)
    check_equal(weights.load(ours), variables)

    code, out, _ = commands.run(cli.main, capsys, ours, theirs, "--to=timm")
    assert code == 0
    assert f": {len(state_dict)} arrays" in out
    back = safetensors.load_file(theirs)
    assert back.keys() == state_dict.keys()
    for name, array in state_dict.items():
        if not name.endswith("num_batches_tracked"):
            np.testing.assert_array_equal(back[name], array, name)


def test_command_refuses_in_one_line(write, capsys, tmp_path):
    path, dest = write("timm"), tmp_path / "out.safetensors"
    broken = dict(safetensors.load_file(path))
    broken["head.fc.bias"][2] = np.nan
    safetensors.save_file(broken, tmp_path / "nan.safetensors")
    nested = convert.from_timm(safetensors.load_file(path))
    nested["params"]["stem"]["conv2"]["bias"][0] = np.inf
    weights.save(tmp_path / "inf.npz", nested)
    (tmp_path / "file").write_text("")
    cases = (
        ([path], "SOURCE and DEST are needed"),
        ([path, tmp_path / "w.pth"], "w.pth must end in one of .safetensors, .npz"),
        ([path, dest, "--to=torch"], "should be one of"),
        ([path, dest, "--from=timm"], "Unknown command line flag"),
        (["/no/w.npz", dest], "searched /no/w.npz"),
        ([tmp_path / "nan.safetensors", dest], "head.fc.bias"),
        ([tmp_path / "inf.npz", dest, "--to=multiaxis"], "params/stem/conv2/bias"),
        ([path, tmp_path / "file" / "w.npz"], "cannot write"),
    )
    commands.check_refusals(cli.main, capsys, cases)
    assert not dest.exists()


def test_command_helps_at_once():
    heavy = {"jax", "flax", "huggingface_hub"}
    commands.check_help("maxvit.convert", heavy, "--to=timm|multiaxis")
