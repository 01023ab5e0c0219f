"""JPEG versions of references: what Pillow writes, checks, windows between blocks."""

import io
import json

import ml_collections
import numpy as np
import pytest
from PIL import Image
from skimage import data

from common.data import decode
from common.errors import ConfigError, DataError
from iqa import jpeg_pairs, pairs
from iqa.pairs import Pair, PairSource, Version


@pytest.fixture(scope="module")
def photo():
    return Image.fromarray(data.astronaut()[40:201, 130:301])  # 161 x 171


def stored(path, image, quality=99):
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=quality, subsampling=0)
    return str(path)


def test_files_are_baseline_with_halved_chroma(photo):
    file = jpeg_pairs.encode(photo, 40)
    with Image.open(io.BytesIO(file)) as image:
        assert (image.format, image.size) == ("JPEG", photo.size)
        assert "progressive" not in image.info
        # Sampling factors of the three components: 2 x 2, 1 x 1, 1 x 1.
        assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]
        luma = image.quantization[0]
    # Table K.1 of T.81 begins 16, 11, 10; at quality 40 libjpeg scales by 125 %.
    assert luma[:3] == [20, 14, 13]


def test_quality_100_is_close_and_sizes_grow(tmp_path, photo):
    path = stored(tmp_path / "1.jpg", photo)
    found = jpeg_pairs.check("1", path, [90, 10, 50, 10], tmp_path / "out")
    assert found.error == ""
    assert 35 < found.psnr < 60
    assert sorted(found.sizes) == [10, 50, 90]
    assert found.sizes[10] < found.sizes[50] < found.sizes[90]
    assert found.monotone
    assert not found.recompressed
    file = (tmp_path / "out" / "1" / "50.jpg").read_bytes()
    assert file == jpeg_pairs.encode(decode.decode(path), 50)
    assert len(file) == found.sizes[50]


def test_a_reference_stored_with_less_quality_is_found(tmp_path, photo):
    for quality, expected in ((98, True), (99, False), (100, False)):
        path = stored(tmp_path / f"{quality}.jpg", photo, quality)
        assert jpeg_pairs.check("x", path, [50]).recompressed is expected


def ciqa_folder(folder, photo):
    rows = ["ref_id,jpg1,jpg2,q1,q2,jpg2_pref"]
    for key in ("1", "2", "3"):
        rows.append(f"{key},{key}/20,{key}/80,20,80,0.5")
    (folder / "train.csv").write_text("\n".join(rows))
    stored(folder / "images" / "1.jpg", photo)
    (folder / "images" / "2.jpg").write_bytes(b"no picture")


def test_missing_and_corrupt_references_are_counted_by_name(tmp_path, photo):
    ciqa_folder(tmp_path, photo)
    config = ml_collections.ConfigDict({"data": {"source": "ciqa", "dir": None}})
    text = jpeg_pairs.run(None, config, str(tmp_path / "run"), str(tmp_path))
    rows = {cells[0]: cells[1:] for cells in (r.split(",") for r in text.splitlines())}
    assert rows["references that can be used"] == ["1", ""]
    assert rows["missing"] == ["1", "3"]
    assert rows["cannot be read"] == ["1", "2"]
    assert rows["files that do not grow with the quality"] == ["0", ""]
    versions = sorted((tmp_path / "run" / "versions").rglob("*.jpg"))
    assert [path.name for path in versions] == ["20.jpg", "80.jpg"]
    record = json.loads((tmp_path / "run" / "codec.json").read_text())
    assert record["versions"] == 2
    assert record["pillow"].count(".") == 2
    assert record["subsampling"] == "4:2:0"
    (tmp_path / "images" / "1.jpg").unlink()
    with pytest.raises(DataError, match=r"none of 3 references .*1 \(missing\)"):
        jpeg_pairs.run(None, config, str(tmp_path / "run"), str(tmp_path))
    config.data.source = "bapps"
    with pytest.raises(ConfigError, match="not for bapps"):
        jpeg_pairs.run(None, config, str(tmp_path / "run"), str(tmp_path))


def decoded(pair):
    example = dict(PairSource([pair])[0])
    example["image"] = decode.decode(example["image"])
    return example


@pytest.fixture(scope="module")
def arrays(photo):
    versions = [Version(f"q{q}", quality=q) for q in (10, 60)]
    pair = Pair("astronaut", np.asarray(photo), *versions, 0.75)
    return pairs.Decode().map(decoded(pair))


def test_versions_are_made_of_the_reference(photo, arrays):
    assert arrays.keys() == {"image", "first", "second", "preference", "id"}
    for key, quality in (("first", 10), ("second", 60)):
        expected = decode.decode(jpeg_pairs.encode(photo, quality))
        np.testing.assert_array_equal(arrays[key], np.asarray(expected))
    assert arrays["preference"].dtype == np.float32


def block_steps(image, phase):
    """How much more pixels differ across the borders of blocks than within."""
    steps = np.abs(np.diff(image.astype(float).mean(-1), axis=1)).mean(0)
    across = np.arange(len(steps)) % 8 == (7 + phase) % 8
    return steps[across].mean() / steps[~across].mean()


def test_windows_are_one_for_all_and_between_blocks(arrays):
    crop = pairs.AlignedCrop((64, 48))
    places = set()
    for seed in range(40):
        cut = crop.random_map(arrays, np.random.default_rng(seed))
        assert cut["image"].shape == cut["first"].shape == (64, 48, 3)
        found = [
            (top, left)
            for top in range(161 - 64 + 1)
            for left in range(171 - 48 + 1)
            if np.array_equal(arrays["image"][top, left : left + 48], cut["image"][0])
        ]
        (top, left) = found[0]
        assert top % 16 == left % 16 == 0
        window = np.s_[top : top + 64, left : left + 48]
        for key in pairs.PICTURES:
            np.testing.assert_array_equal(cut[key], arrays[key][window])
        places.add((top, left))
    assert {top for top, _ in places} == {0, 16, 32, 48, 64, 80, 96}
    assert {left for _, left in places} == {0, 16, 32, 48, 64, 80, 96, 112}
    assert block_steps(arrays["first"], 0) > 1.5 > block_steps(arrays["first"], 3)


def test_mirroring_keeps_the_grid(arrays):
    flip = pairs.AlignedFlip()
    cut = pairs.WholeBlocks().map(arrays)
    seen = set()
    for seed in range(8):
        turned = flip.random_map(cut, np.random.default_rng(seed))
        mirrored = not np.array_equal(turned["image"], cut["image"])
        seen.add(mirrored)
        for key in pairs.PICTURES:
            expected = cut[key][:, ::-1] if mirrored else cut[key]
            np.testing.assert_array_equal(turned[key], expected)
        assert block_steps(turned["first"], 0) > 1.5
        # 171 pixels are no whole blocks: never mirrored.
        assert flip.random_map(arrays, np.random.default_rng(seed)) is arrays
    assert seen == {True, False}


def test_smaller_pictures_are_continued_on_the_grid(arrays):
    cut = pairs.AlignedCrop(256).random_map(arrays, np.random.default_rng(0))
    assert cut["first"].shape == (256, 256, 3)
    np.testing.assert_array_equal(cut["first"][:160, :160], arrays["first"][:160, :160])
    # Mirrored at the border, the edge pixel repeated: blocks still are blocks.
    np.testing.assert_array_equal(cut["first"][160], cut["first"][159])
    assert block_steps(cut["first"], 0) > 1.5


def test_whole_blocks_only(arrays):
    cut = pairs.WholeBlocks().map(arrays)
    assert {cut[key].shape for key in pairs.PICTURES} == {(160, 160, 3)}
    assert pairs.whole(np.zeros((9, 40, 3))).shape == (9, 32, 3)


@pytest.mark.parametrize("size", [100, (64, 40)])
def test_windows_that_would_cut_blocks_are_refused(size):
    with pytest.raises(ConfigError, match=r"image_size=.* must be a multiple of 16"):
        pairs.AlignedCrop(size)


def test_versions_that_cannot_be(photo, tmp_path):
    small = Pair("k", np.asarray(photo), Version("a", quality=50), None, 0.5)
    for picture, message in (
        (np.zeros((8, 8, 3), np.uint8), "b has 8 x 8 pixels, its reference 171 x 161"),
        (str(tmp_path / "none.png"), "cannot read b: .*none.png"),
        (b"broken", "cannot read b"),
    ):
        pair = Pair(small.key, small.reference, small.first, Version("b", picture), 0.5)
        example = decoded(pair)
        with pytest.raises(DataError, match=message):
            pairs.Decode().map(example)
        # A reference that cannot be read is black, and nothing is made of it.
        stand_in = pairs.Decode().map({**example, "mask": False})
        np.testing.assert_array_equal(stand_in["second"], stand_in["image"])
    with pytest.raises(DataError, match="no pair"):
        PairSource([])
