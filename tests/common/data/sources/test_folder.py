"""Image folders, with and without split folders, and what is said when wrong."""

import shutil

import pytest
from absl import logging

from common.data.decode import decode
from common.data.sources.folder import FolderSource
from common.errors import DataError
from tests.common.data.files import write_folder


def names(source):
    return [source[i]["name"] for i in range(len(source))]


def test_split_folders(tmp_path):
    write_folder(tmp_path / "train", {"b": 3, "a": 2, "c": 1})
    write_folder(tmp_path / "val", {"b": 2, "c": 1})
    train = FolderSource(tmp_path, "train", eval_split="val")
    held_out = FolderSource(tmp_path, "eval", eval_split="val")
    assert train.class_names == held_out.class_names == ("a", "b", "c")
    assert [train[i]["label"] for i in range(6)] == [0, 0, 1, 1, 1, 2]
    assert [held_out[i]["label"] for i in range(3)] == [1, 1, 2]  # training's labels
    assert names(train) == sorted(names(train))
    assert [train[i]["id"] for i in range(6)] == list(range(6))
    assert decode(train[0]["image"]).size == (32, 24)


def test_extensions_depth_hidden_files_and_links(tmp_path):
    root = write_folder(tmp_path / "train", {"a": 1}) / "a"
    image = root / "00.png"
    (root / "deep" / "er").mkdir(parents=True)
    for name in ("deep/er/x.PNG", "upper.JPEG", ".hidden.png", "notes.txt", "y.webp"):
        shutil.copy(image, root / name)
    (root / "link.png").symlink_to(image)
    (root / "loop").symlink_to(root, target_is_directory=True)
    source = FolderSource(tmp_path, "train")
    found = [name.removeprefix(str(root) + "/") for name in names(source)]
    assert found == ["00.png", "deep/er/x.PNG", "link.png", "upper.JPEG", "y.webp"]


def test_without_splits_every_class_is_divided(tmp_path, monkeypatch):
    lines = []
    monkeypatch.setattr(logging, "info", lambda text, *args: lines.append(text % args))
    write_folder(tmp_path, {"a": 20, "b": 5, "c": 1})
    train = FolderSource(tmp_path, "train")
    held_out = FolderSource(tmp_path, "eval")
    assert [held_out[i]["label"] for i in range(len(held_out))] == [0, 0, 1]
    assert len(train) == 18 + 4 + 1
    assert not set(names(train)) & set(names(held_out))
    assert names(FolderSource(tmp_path, "eval")) == names(held_out)
    others = {
        tuple(names(FolderSource(tmp_path, "eval", split_seed=s))) for s in (1, 2)
    }
    assert others != {tuple(names(held_out))}
    assert "no split folders: 3 images are the eval split (10 %" in lines[1]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: root / "nowhere", "no such folder: {root}/nowhere; expected"),
        (lambda root: None, "needs --data_dir; expected train/<class>/<image>"),
        (lambda root: root, "no class folder in {root}; expected"),
        (lambda root: write_folder(root, {"a": 0}), "no image .* in the classes of"),
        (
            lambda root: (root / "train").mkdir() or root,
            "no class folder in {root}/train",
        ),
    ],
)
def test_what_is_missing_is_said(tmp_path, make, message):
    with pytest.raises(DataError, match=message.format(root=tmp_path)):
        FolderSource(make(tmp_path), "train")


def test_missing_split_names_what_is_there(tmp_path):
    write_folder(tmp_path / "train", {"a": 1})
    write_folder(tmp_path / "test", {"a": 1})
    with pytest.raises(
        DataError, match=r"validation \(found: test, train; config.data.eval_split"
    ):
        FolderSource(tmp_path, "eval")


def test_evaluation_classes_must_be_known(tmp_path):
    write_folder(tmp_path / "train", {"cat": 1, "dog": 1})
    write_folder(tmp_path / "validation", {"cat": 1, "cow": 1})
    with pytest.raises(DataError, match=r"not in .*train: cow$"):
        FolderSource(tmp_path, "eval")
