"""Pairs of files: the plain layout, the known sets, splits, and what is said.

Layouts are tried on files of the right names; only the plain one holds real images.
"""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from absl import logging
from PIL import Image

from common.data.decode import Decoded
from common.data.sources.images import ImagesSource
from common.data.sources.paired import PairedSource
from common.errors import DataError
from tests.common.data.files import pixels


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return root


def both(root, folder, *names):
    """Empty files of the same names in `folder/input` and `folder/target`."""
    for kind in ("input", "target"):
        touch(root, *(f"{folder}/{kind}/{name}" for name in names))
    return root


def read(root, split, **options):
    """Returns the pairs of a split as paths relative to the root."""
    source = PairedSource(root, split, **options)
    examples = [source[index] for index in range(len(source))]
    assert [example["id"] for example in examples] == list(range(len(examples)))
    assert [example["name"] for example in examples] == [e["image"] for e in examples]
    relative = [
        tuple(os.path.relpath(example[key], root) for key in ("image", "target"))
        for example in examples
    ]
    assert relative == sorted(relative)
    return relative


def test_the_plain_layout_is_decoded(tmp_path):
    for number, split in enumerate(("train", "validation")):
        for kind, offset in (("input", 0), ("target", 50)):
            folder = tmp_path / split / kind / "deep"
            folder.mkdir(parents=True)
            image = Image.fromarray(pixels(20, 30, number + offset))
            image.save(folder / f"a.{'png' if kind == 'input' else 'bmp'}")
    for number, split in enumerate(("train", "eval")):
        source = pickle.loads(pickle.dumps(PairedSource(tmp_path, split)))
        assert len(source) == 1
        assert source.class_names == ()
        example = Decoded(source, 0, "next")[0]
        np.testing.assert_array_equal(example["image"], pixels(20, 30, number))
        np.testing.assert_array_equal(example["target"], pixels(20, 30, number + 50))


# A layout's files, its splits (train, eval), and the pairs expected of them.
LAYOUTS = {
    "sidd": (
        [
            "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_GT_SRGB_010.PNG",
            "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_GT_SRGB_011.PNG",
            "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_SRGB_010.PNG",
            "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_SRGB_011.PNG",
            "SIDD/Data/0200_010_GP_01600_03200_5500_N/GT_SRGB_010.PNG",
            "SIDD/Data/0200_010_GP_01600_03200_5500_N/NOISY_SRGB_010.PNG",
            "SIDD/Scene_Instances.txt",
            *("val/SIDD/input_crops/a.png", "val/SIDD/target_crops/a.png"),
        ],
        ("train", "validation"),
        [
            (
                "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_SRGB_010.PNG",
                "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_GT_SRGB_010.PNG",
            ),
            (
                "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_NOISY_SRGB_011.PNG",
                "SIDD/Data/0001_001_S6_00100_00060_3200_L/0001_GT_SRGB_011.PNG",
            ),
            (
                "SIDD/Data/0200_010_GP_01600_03200_5500_N/NOISY_SRGB_010.PNG",
                "SIDD/Data/0200_010_GP_01600_03200_5500_N/GT_SRGB_010.PNG",
            ),
        ],
        [("val/SIDD/input_crops/a.png", "val/SIDD/target_crops/a.png")],
    ),
    "gopro": (
        [
            f"{split}/GOPR0372_07_00/{kind}/000047.png"
            for split in ("train", "test")
            for kind in ("blur", "blur_gamma", "sharp")
        ],
        ("train", "validation"),
        [
            (
                "train/GOPR0372_07_00/blur/000047.png",
                "train/GOPR0372_07_00/sharp/000047.png",
            )
        ],
        [
            (
                "test/GOPR0372_07_00/blur/000047.png",
                "test/GOPR0372_07_00/sharp/000047.png",
            )
        ],
    ),
    "hide": (
        [
            *("train/1fromG.png", "test/test-close-ups/2fromG.png"),
            *("test/test-long-shot/3fromG.png", "train.txt"),
            *("GT/1fromG.png", "GT/2fromG.png", "GT/3fromG.png"),
        ],
        ("train", "test"),
        [("train/1fromG.png", "GT/1fromG.png")],
        [
            ("test/test-close-ups/2fromG.png", "GT/2fromG.png"),
            ("test/test-long-shot/3fromG.png", "GT/3fromG.png"),
        ],
    ),
    "reds": (
        [
            *(
                "train/train_blur_jpeg/000/00000000.jpg",
                "train/train_sharp/000/00000000.png",
            ),
            *("train/train_blur/000/00000000.png", "val/val_sharp/001/00000009.png"),
            "val/val_blur_jpeg/001/00000009.jpg",
        ],
        ("train_blur_jpeg", "val_blur_jpeg"),
        [
            (
                "train/train_blur_jpeg/000/00000000.jpg",
                "train/train_sharp/000/00000000.png",
            )
        ],
        [("val/val_blur_jpeg/001/00000009.jpg", "val/val_sharp/001/00000009.png")],
    ),
    "rain13k": (
        [
            f"{folder}/{kind}/1.png"
            for folder in ("train/Rain13K", "test/Rain100H", "test/Test100")
            for kind in ("input", "target")
        ],
        ("train", "Rain100H"),
        [("train/Rain13K/input/1.png", "train/Rain13K/target/1.png")],
        [("test/Rain100H/input/1.png", "test/Rain100H/target/1.png")],
    ),
    "raindrop": (
        [
            *("train/data/0_rain.png", "train/gt/0_clean.png"),
            *("test_a/data/0_rain.png", "test_a/gt/0_clean.png"),
            *("test_b/data/0_rain.jpg", "test_b/gt/0_clean.jpg"),
        ],
        ("train", "test_b"),
        [("train/data/0_rain.png", "train/gt/0_clean.png")],
        [("test_b/data/0_rain.jpg", "test_b/gt/0_clean.jpg")],
    ),
    "reside": (
        [
            *(
                "ITS/hazy/1_1_0.90179.png",
                "ITS/hazy/1_2_0.97842.png",
                "ITS/clear/1.png",
            ),
            *("OTS/haze/part1/0001_0.8_0.04.jpg", "OTS/clear/0001.jpg"),
            *("SOTS/indoor/hazy/1400_1.png", "SOTS/indoor/gt/1400.png"),
            *("SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "SOTS/outdoor/gt/0001.png"),
        ],
        ("ITS", "SOTS/outdoor"),
        [
            ("ITS/hazy/1_1_0.90179.png", "ITS/clear/1.png"),
            ("ITS/hazy/1_2_0.97842.png", "ITS/clear/1.png"),
        ],
        [("SOTS/outdoor/hazy/0001_0.8_0.2.jpg", "SOTS/outdoor/gt/0001.png")],
    ),
    "ots": (
        [
            "OTS/haze/part1/0001_0.8_0.04.jpg",
            "OTS/clear/0001.jpg",
            "SOTS/indoor/hazy/1400_1.png",
            "SOTS/indoor/gt/1400.png",
        ],
        ("OTS", "SOTS/indoor"),
        [("OTS/haze/part1/0001_0.8_0.04.jpg", "OTS/clear/0001.jpg")],
        [("SOTS/indoor/hazy/1400_1.png", "SOTS/indoor/gt/1400.png")],
    ),
    "lol": (
        [
            f"{folder}/{kind}/{name}.png"
            for folder, name in (("our485", "2"), ("eval15", "1"))
            for kind in ("low", "high")
        ],
        ("train", "validation"),
        [("our485/low/2.png", "our485/high/2.png")],
        [("eval15/low/1.png", "eval15/high/1.png")],
    ),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_known_layouts(name, tmp_path):
    files, (train_split, eval_split), train, held_out = LAYOUTS[name]
    touch(tmp_path, *files)
    splits = {"train_split": train_split, "eval_split": eval_split}
    assert read(tmp_path, "train", **splits) == train
    assert read(tmp_path, "eval", **splits) == held_out


def test_realblur_lists(tmp_path):
    scene = "RealBlur-J_ECC_IMCORR_centroid_itensity_ref/scene{0}/{1}/{1}_{2}.png"
    lines = {"train": ((1, 1), (1, 2)), "test": ((2, 1),)}
    for split, numbers in lines.items():
        pairs = [
            [scene.format(f"{s:03d}", kind, i) for kind in ("gt", "blur")]
            for s, i in numbers
        ]
        for pair in pairs:
            touch(tmp_path, *pair)
        text = "".join(f"{sharp} {blurred} \n" for sharp, blurred in pairs)
        (tmp_path / f"RealBlur_J_{split}_list.txt").write_text(text)
        (tmp_path / f"RealBlur_R_{split}_list.txt").write_text("")
    splits = {"train_split": "RealBlur_J/train", "eval_split": "RealBlur_J/test"}
    train = read(tmp_path, "train", **splits)
    assert train[1] == (scene.format("001", "blur", 2), scene.format("001", "gt", 2))
    assert len(train) == 2
    assert len(read(tmp_path, "eval", **splits)) == 1
    assert len(read(tmp_path, "eval")) == 1  # usual names of splits
    touch(tmp_path, "GoPro/train/a/blur/1.png", "GoPro/train/a/sharp/1.png")
    # The lists' images need no sharp/.
    assert len(PairedSource(tmp_path, "train")) == 3
    Path(tmp_path / scene.format("001", "blur", 2)).unlink()
    with pytest.raises(DataError, match=r"train_list.txt line 2: no file .*blur_2.png"):
        PairedSource(tmp_path, "eval", **splits)


def test_sidd_validation_blocks(tmp_path):
    from scipy import io

    blocks = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8, 3), np.uint8)
    folder = tmp_path / "SIDD_Validation_sRGB"
    folder.mkdir()
    for name, values in (("Noisy", blocks), ("Gt", 255 - blocks)):
        name = f"Validation{name}BlocksSrgb"
        io.savemat(folder / f"{name}.mat", {name: values}, do_compression=True)
    source = pickle.loads(pickle.dumps(PairedSource(tmp_path, "eval")))
    assert len(source) == 6
    example = Decoded(source, 0, "mask")[4]
    np.testing.assert_array_equal(example["image"], blocks[1, 1])
    np.testing.assert_array_equal(example["target"], 255 - blocks[1, 1])
    assert example["name"] == f"{folder}/ValidationNoisyBlocksSrgb.mat[4]"
    clean = folder / "ValidationGtBlocksSrgb.mat"
    io.savemat(clean, {"ValidationGtBlocksSrgb": blocks[:1]})
    with pytest.raises(DataError, match=r"differ in shape: \(2, 3.* and \(1, 3"):
        PairedSource(tmp_path, "eval")
    clean.write_bytes(b"no matlab")
    with pytest.raises(DataError, match=f"cannot read {clean}"):
        PairedSource(tmp_path, "eval")
    clean.unlink()
    with pytest.raises(DataError, match="no file"):
        PairedSource(tmp_path, "eval")


@pytest.mark.parametrize("folder", ["target", "expertC", "expertC_gt"])
def test_fivek_holds_out_its_last_500_names(tmp_path, folder):
    names = [f"a{number:04d}-x.jpg" for number in range(1, 521)]
    touch(tmp_path, *(f"{f}/{n}" for f in ("input", folder) for n in names))
    assert read(tmp_path, "eval")[0] == ("input/a0021-x.jpg", f"{folder}/a0021-x.jpg")
    assert len(read(tmp_path, "eval")) == 500
    assert read(tmp_path, "train")[-1][0] == "input/a0020-x.jpg"


def test_fivek_with_split_folders_is_not_divided(tmp_path):
    names = [f"a{number:04d}-x.jpg" for number in range(503)]
    both(tmp_path, "train", *names)
    both(tmp_path, "test", "a0503-x.jpg")
    assert len(read(tmp_path, "train")) == 503
    assert len(read(tmp_path, "eval")) == 1


def test_a_few_files_named_as_in_fivek_are_not_fivek(tmp_path):
    both(tmp_path, ".", *(f"a{number:04d}.png" for number in range(20)))
    assert (len(read(tmp_path, "train")), len(read(tmp_path, "eval"))) == (18, 2)


def test_a_tenth_is_held_out_where_there_are_no_splits(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "info", lambda text, *args: lines.append(text % args))
    names = [f"{number:02d}.png" for number in range(20)]
    both(tmp_path, ".", *names)
    train, held_out = read(tmp_path, "train"), read(tmp_path, "eval")
    assert (len(train), len(held_out)) == (18, 2)
    assert not set(train) & set(held_out)
    # Who names a split does not mean a tenth of everything.
    with pytest.raises(DataError, match=r"unknown eval split 'test'.*'\.' is everyth"):
        read(tmp_path, "eval", eval_split="test")
    other = {tuple(read(tmp_path, "eval", split_seed=seed)) for seed in (1, 2, 3)}
    assert other != {tuple(held_out)}
    assert "no split folders: 2 images are the eval split (10 %" in lines[1]
    assert len(read(tmp_path, "eval", eval_split=".")) == 20


def test_what_shares_a_target_or_an_image_stays_on_one_side(tmp_path):
    hazy = [f"{n}_{k}_0.9.png" for n in range(20) for k in range(3)]
    touch(tmp_path / "a", *(f"hazy/{name}" for name in hazy))
    touch(tmp_path / "a", *(f"clear/{n}.png" for n in range(20)))
    tiles = [f"{n}_y0000{k}x00000.png" for n in range(20) for k in range(3)]
    both(tmp_path / "b", ".", *tiles)
    for root in (tmp_path / "a", tmp_path / "b"):
        sides = [
            {os.path.basename(pair[0]).split("_")[0] for pair in read(root, split)}
            for split in ("train", "eval")
        ]
        assert [len(side) for side in sides] == [18, 2]
        assert not sides[0] & sides[1]


def test_links_to_folders_are_followed_but_not_in_circles(tmp_path):
    both(tmp_path / "elsewhere", ".", "1.png")
    root = both(tmp_path / "data", "train", "2.png")
    (root / "test").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (root / "train" / "loop").symlink_to(root, target_is_directory=True)
    touch(root, "train/input/.hidden.png", "train/input/notes.txt")
    assert read(root, "train") == [("train/input/2.png", "train/target/2.png")]
    assert read(root, "eval") == [("test/input/1.png", "test/target/1.png")]


def test_a_missing_counterpart_is_named(tmp_path):
    both(tmp_path, "train", *(f"{number}.png" for number in range(6)))
    for number in range(1, 6):
        (tmp_path / "train" / "target" / f"{number}.png").unlink()
    with pytest.raises(DataError) as error:
        PairedSource(tmp_path, "train")
    text = str(error.value)
    assert text.startswith("5 images have no target, 1 have one")
    assert "train/input/1.png (expected train/target/1.*)" in text
    assert text.endswith("train/input/3.png (expected train/target/3.*), ...")


def test_a_missing_folder_of_targets_is_an_error_where_others_have_one(tmp_path):
    touch(tmp_path, "train/a/blur/1.png", "train/a/sharp/1.png", "train/b/blur/1.png")
    touch(tmp_path, "train/a/blur_gamma/1.png")
    with pytest.raises(
        DataError, match=r"train/b/blur/1.png \(expected train/b/sharp/1"
    ):
        PairedSource(tmp_path, "train")
    # Only a known folder of inputs: all kinds of images lie beside HIDE.
    (tmp_path / "train/b/blur/1.png").unlink()
    touch(tmp_path, "HIDE/train/1.png", "HIDE/GT/1.png", "train/picture.png")
    assert len(read(tmp_path, "train")) == 2


def test_pairs_of_other_names(tmp_path):
    touch(tmp_path, "input/1.png", "target/0001.png")
    with pytest.raises(
        DataError, match=r"1 images have no target, 0 have one.*put/1.p"
    ):
        PairedSource(tmp_path, "train")


def test_targets_are_no_inputs_of_another_layout(tmp_path):
    both(tmp_path, "train", "1.png", "2.png")
    touch(tmp_path, "GT/3.png")
    assert len(read(tmp_path, "train")) == 2


def test_targets_without_an_input(tmp_path):
    both(tmp_path, "train", "1.png", "2.png")
    touch(tmp_path, "train/target/3.png", "train/target/notes.txt")
    with pytest.raises(DataError, match=r"1 images have no input: train/target/3.png"):
        PairedSource(tmp_path, "train")


def test_a_folder_that_may_not_be_read_is_skipped(tmp_path, monkeypatch):
    both(tmp_path, "train", "1.png")
    (tmp_path / "lost+found").mkdir()
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("lost+found"):
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert read(tmp_path, "train", train_split=".") == [
        ("train/input/1.png", "train/target/1.png")
    ]


def test_two_possible_targets(tmp_path):
    touch(tmp_path, "input/1.png", "target/1.png", "target/1.jpg")
    touch(tmp_path, "input/2.png", "target/2.png")
    assert ("input/1.png", "target/1.png") in read(tmp_path, "eval", eval_split=".")
    (tmp_path / "input/1.png").rename(tmp_path / "input/1.bmp")
    with pytest.raises(
        DataError, match=r"input/1.bmp has several targets: 1.jpg, 1.png"
    ):
        PairedSource(tmp_path, "train")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "no pairs of images below {root} .no images at all.; expected <split>/in"),
        (["a/1.png"], r"images lie in a\).*or the layout of: .*GoPro.*RealBlur"),
        (["train/input/1.png"], "images lie in train/input"),
    ],
)
def test_nothing_to_pair(tmp_path, files, message):
    touch(tmp_path, *files)
    with pytest.raises(DataError, match=message.format(root=tmp_path)):
        PairedSource(tmp_path, "train")


@pytest.mark.parametrize("source", [PairedSource, ImagesSource])
def test_no_folder(tmp_path, source):
    with pytest.raises(DataError, match=f"the {source.kind} source needs --data_dir"):
        source(None, "train")
    with pytest.raises(DataError, match=f"no such folder: {tmp_path}/x; expected"):
        source(tmp_path / "x", "train")


def test_unknown_splits_name_the_known(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "warning", lambda text, *a: lines.append(text % a))
    both(both(tmp_path, "train", "1.png"), "test/Rain100H", "2.png")
    with pytest.raises(DataError) as error:
        PairedSource(tmp_path, "eval", eval_split="test/Rain100L")
    text = str(error.value)
    assert "unknown eval split 'test/Rain100L'; did you mean 'test/Rain100H'" in text
    assert "config.data.eval_split" in text
    # One split alone is not taken for data without splits.
    with pytest.raises(DataError, match="unknown train split 'train'"):
        PairedSource(tmp_path / "test", "train", eval_split="Rain100H")
    assert not lines
    assert len(read(tmp_path, "train", train_split=".")) == 2
    assert "1 examples are in both splits" in lines[0]


def test_one_split_of_the_usual_names_is_not_divided(tmp_path):
    both(tmp_path, "train", "1.png", "2.png")
    with pytest.raises(DataError, match="unknown eval split 'validation'"):
        PairedSource(tmp_path, "eval")


def test_a_whole_scope_is_named_not_a_part_of_a_word(tmp_path):
    both(both(tmp_path, "train", "1.png"), "test_a", "2.png")
    with pytest.raises(DataError, match="unknown eval split 'test'"):
        PairedSource(tmp_path, "eval", eval_split="test")


def test_many_scopes_are_shortened(tmp_path):
    for number in range(20):
        both(tmp_path, f"train/scene{number}", "1.png")
    with pytest.raises(DataError, match=r"\(choices: train\)"):
        PairedSource(tmp_path, "eval", eval_split="test")


def test_a_single_photograph_cannot_be_divided(tmp_path):
    both(tmp_path, ".", "1.png")
    with pytest.raises(DataError, match="one photograph and no split folders"):
        PairedSource(tmp_path, "train")


def test_images_without_labels(tmp_path):
    touch(tmp_path, "train/a/1.png", "train/2.JPG", "validation/3.webp", "train/x.txt")
    train, held_out = (ImagesSource(tmp_path, split) for split in ("train", "eval"))
    found = [train[index] for index in range(len(train))]
    assert [example["image"] for example in found] == [
        f"{tmp_path}/train/2.JPG",
        f"{tmp_path}/train/a/1.png",
    ]
    assert set(found[0]) == {"image", "id", "name"}
    assert [held_out[i]["name"] for i in range(len(held_out))] == [
        f"{tmp_path}/validation/3.webp"
    ]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=f"no image .* below {tmp_path}/empty"):
        ImagesSource(tmp_path / "empty", "train")


def test_images_without_splits(tmp_path):
    touch(tmp_path, *(f"album{number % 2}/{number}.png" for number in range(30)))
    names = [
        {source[index]["name"] for index in range(len(source))}
        for source in (ImagesSource(tmp_path, split) for split in ("train", "eval"))
    ]
    assert [len(side) for side in names] == [27, 3]
    assert not names[0] & names[1]
