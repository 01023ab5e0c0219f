"""Readers of BAPPS, PieAPP, TID2013 and KADID-10k on small made folders."""

import numpy as np
import pytest
from PIL import Image

from common.errors import DataError
from iqa import pair_datasets, preference_config, preference_evaluation


def picture(path, seed, noise=0.0):
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.linspace(60, 190, 32 * 32).reshape(32, 32, 1)
    values = grey + noise * np.random.default_rng(seed).normal(size=(32, 32, 3))
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(path)


def bapps_folder(root):
    for split, count in (("val/traditional", 3), ("val/cnn", 1), ("train/cnn", 2)):
        home = root / "2afc" / split
        (home / "judge").mkdir(parents=True)
        for k in range(count):
            picture(home / "ref" / f"{k:06}.png", 0)
            picture(home / "p0" / f"{k:06}.png", 1, 30 if k % 2 else 3)
            picture(home / "p1" / f"{k:06}.png", 2, 3 if k % 2 else 30)
            judge = np.array([1.0 if k % 2 else 0.2], np.float32)
            np.save(home / "judge" / f"{k:06}.npy", judge)
    return root


def pieapp_folder(root):
    for split in ("train", "test"):
        clean = root / "reference_images" / split
        made = root / "distorted_images" / split / "ref_1"
        picture(clean / "ref_1.png", 0)
        for k, noise in enumerate((3, 10, 30)):
            picture(made / f"distort_1_{k}.png", k, noise)
        (root / "labels" / split).mkdir(parents=True)
    names = [f"distort_1_{k}.png" for k in range(3)]
    (root / "labels/train/ref_1_pairwise_labels.csv").write_text(
        f"ref_1.png,{names[0]},{names[1]},0.9,0.88\n"
        f"ref_1.png,{names[0]},{names[2]},,0.97\n"
        f"ref_1.png,{names[2]},{names[1]},0.1,0.12\n"
    )
    (root / "labels/test/ref_1_pairwise_labels.csv").write_text(
        "ref_img,distA,distB,preference for A\n"
        f"ref_1.png, {names[0]}, {names[1]}, 0.775\n"
        f"ref_1.png, ref_1.png, {names[1]}, 1.0\n"
    )
    return root


def tid_folder(root):
    lines = []
    for name, capital in (("i01", "I01.BMP"), ("i25", "i25.bmp")):
        picture(root / "reference_images" / capital, 0)
        for level in range(1, 6):
            picture(root / f"distorted_images/{name}_10_{level}.bmp", level, 4 * level)
            lines.append(f"{7 - level:.5f} {name.capitalize()}_10_{level}.bmp")
            lines.append(f"3.1 {name}_01_{level}.bmp")
    (root / "mos_with_names.txt").write_text("\n".join(lines))
    return root


def kadid_folder(root):
    lines = ["dist_img,ref_img,dmos,var"]
    picture(root / "images" / "I01.png", 0)
    for level in range(1, 6):
        picture(root / f"images/I01_10_0{level}.png", level, 4 * level)
        lines.append(f"I01_10_0{level}.png,I01.png,{5 - level * 0.7:.2f},0.5")
        lines.append(f"I01_09_0{level}.png,I01.png,2.1,0.5")
    (root / "dmos.csv").write_text("\n".join(lines) + "\n")
    return root


def test_bapps(tmp_path):
    bapps_folder(tmp_path)
    found = pair_datasets.bapps(str(tmp_path), "val")
    assert len(found) == 4
    traditional = pair_datasets.bapps(str(tmp_path), "val/traditional")
    assert [pair.preference for pair in traditional] == pytest.approx([0.2, 1, 0.2])
    pair = traditional[1]
    assert pair.reference.endswith("2afc/val/traditional/ref/000001.png")
    assert pair.first.picture.endswith("p0/000001.png")
    assert pair.second.picture.endswith("p1/000001.png")
    with pytest.raises(
        DataError, match=r"no folder of validation with judge.*train/cnn"
    ):
        pair_datasets.bapps(str(tmp_path), "validation")


def test_bapps_with_mistakes(tmp_path):
    bapps_folder(tmp_path)
    home = tmp_path / "2afc/val/cnn"
    np.save(home / "judge" / "000000.npy", np.array([1.5]))
    with pytest.raises(DataError, match=r"000000.npy: 1.5 is not in \[0, 1\]"):
        pair_datasets.bapps(str(tmp_path), "val")
    (home / "judge" / "000000.npy").write_bytes(b"x")
    with pytest.raises(DataError, match=r"000000.npy is no judgement"):
        pair_datasets.bapps(str(tmp_path), "val")
    np.save(home / "judge" / "000000.npy", np.array([{}], object))
    with pytest.raises(DataError, match=r"000000.npy is no judgement"):
        pair_datasets.bapps(str(tmp_path), "val")
    (home / "p1" / "000000.png").unlink()
    with pytest.raises(DataError, match=r"cnn: 1 names are not in all of ref.*000000"):
        pair_datasets.bapps(str(tmp_path), "val")


def test_pieapp(tmp_path, caplog):
    pieapp_folder(tmp_path)
    with caplog.at_level("INFO", logger="absl"):
        train = pair_datasets.pieapp(str(tmp_path), "train")
    # The label is the share for A, ours that for the second.
    assert [pair.preference for pair in train] == pytest.approx([0.1, 0.9])
    assert "1 pairs that nobody judged" in caplog.text
    test = pair_datasets.pieapp(str(tmp_path), "test")
    assert [pair.preference for pair in test] == pytest.approx([0.225, 0])
    assert test[1].first.picture == test[1].reference
    assert test[0].votes == 40


def test_pieapp_with_mistakes(tmp_path):
    pieapp_folder(tmp_path)
    with pytest.raises(DataError, match="unknown PieAPP split 'tests'"):
        pair_datasets.pieapp(str(tmp_path), "tests")
    with pytest.raises(DataError, match=r"no PieAPP labels: .*labels/val"):
        pair_datasets.pieapp(str(tmp_path), "val")
    path = tmp_path / "labels/train/ref_1_pairwise_labels.csv"
    for text, message in (
        ("ref_1.png,a.png\n", "line 1: 2 cells"),
        ("ref_1.png,a.png,b.png,7\n", r"line 1: '7' is no share in \[0, 1\]"),
        ("ref_1.png,a.png,b.png,0.5\n", "none of 1 pairs has its files.*a.png"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            pair_datasets.pieapp(str(tmp_path), "train")


def test_the_jpeg_part_of_tid2013(tmp_path):
    found = pair_datasets.tid2013(str(tid_folder(tmp_path)))
    assert len(found) == 2 * 10
    assert {pair.key for pair in found} == {"I01", "I25"}
    # All versions 1 to 5 are the worse the higher.
    assert {pair.preference for pair in found} == {0.0}
    assert (found[0].first.opinion, found[0].second.opinion) == (6, 5)
    assert found[0].reference.endswith("I01.BMP")
    assert found[0].first.picture.endswith("i01_10_1.bmp")


def test_the_jpeg_part_of_kadid10k(tmp_path):
    kadid_folder(tmp_path)
    found = pair_datasets.kadid10k(str(tmp_path))
    assert len(found) == 10
    assert found[0].first.opinion == pytest.approx(4.3)
    (tmp_path / "images" / "I01_10_03.png").unlink()
    assert len(pair_datasets.kadid10k(str(tmp_path))) == 6


@pytest.mark.parametrize(
    ("reader", "name", "text", "message"),
    [
        ("tid2013", "mos_with_names.txt", None, "there is no .*mos_with_names.txt"),
        ("tid2013", "mos_with_names.txt", "x i01_10_1.bmp", "line 1: .* no score"),
        ("tid2013", "mos_with_names.txt", "5.5 i01_01_1.bmp", "no picture of JPEG"),
        ("kadid10k", "dmos.csv", "image,dmos", "the columns are image,dmos"),
        ("kadid10k", "dmos.csv", "dist_img,ref_img,dmos,var\nI01_10_01.png", "line 2"),
    ],
)
def test_files_that_are_no_scores(tmp_path, reader, name, text, message):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=message):
        getattr(pair_datasets, reader)(str(tmp_path))
    with pytest.raises(DataError, match="needs --data_dir"):
        getattr(pair_datasets, reader)(None)


@pytest.mark.parametrize(
    ("make", "read"),
    [
        (bapps_folder, lambda root: pair_datasets.bapps(root, "val/traditional")),
        (pieapp_folder, lambda root: pair_datasets.pieapp(root, "train")),
        (tid_folder, pair_datasets.tid2013),
        (kadid_folder, pair_datasets.kadid10k),
    ],
)
def test_a_table_of_rivals_works_on_each(tmp_path, make, read):
    compared = read(str(make(tmp_path)))
    count = len(compared)
    ours = np.array([[pair.preference, 1 - pair.preference] for pair in compared])
    outputs = {
        "id": np.arange(count),
        "first": ours[:, 1],
        "second": ours[:, 0],
        "probability": ours[:, 0],
    }
    options = preference_config.default_config().evaluation
    judged = preference_evaluation.judge(outputs, compared, options)
    header, *rows = preference_evaluation.preference_table(judged)
    assert {len(row) for row in rows} == {len(header)}
    found = {row[0]: row[1] for row in rows}
    assert found["this metric"] == found["the majority itself"]
    assert found["PSNR"] == found["SSIM"] == found["the majority itself"]
    # Files that are no JPEG, and pictures too small for five scales.
    assert found.keys().isdisjoint({"larger file", "higher quality factor", "MS-SSIM"})
    if compared[0].first.opinion is not None:
        table = preference_evaluation.opinions_table(judged)
        assert {row[0]: row[1] for row in table}["PSNR"] == "1.000"
