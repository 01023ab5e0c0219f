"""Batches: the same for any workers and processes, exact through stop and resume."""

import grain
import numpy as np
import pytest

from common.data import paired_transforms, pipeline, transforms
from common.data.randaugment import RandAugment
from common.data.sources.fake import FakeSource
from common.data.sources.folder import FolderSource
from common.errors import ConfigError, DataError
from tests.common.data.files import write_folder

AUGMENT = (
    transforms.RandomResizedCrop(12),
    transforms.RandomFlip(),
    RandAugment(2, 15),
    transforms.ToArray(),
)
EVALUATE = (transforms.CenterCrop(12, "squash"), transforms.ToArray())


def source(examples=10):
    return FakeSource("train", image_size=16, num_classes=3, num_examples=examples)


def train(examples=10, batch_size=4, seed=3, **options):
    return pipeline.train_dataset(
        source(examples), AUGMENT, batch_size=batch_size, seed=seed, **options
    )


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def assert_equal(batches, expected):
    assert len(batches) == len(expected)
    for a, b in zip(batches, expected, strict=True):
        assert set(a) == set(b)
        for key in a:
            np.testing.assert_array_equal(a[key], b[key])


def test_batch_contents():
    batch = next(iter(train()))
    assert set(batch) == {"image", "label", "id"}
    assert batch["image"].shape == (4, 12, 12, 3)
    assert batch["image"].dtype == np.uint8
    assert batch["label"].dtype == batch["id"].dtype == np.int32
    np.testing.assert_array_equal(batch["label"], batch["id"] % 3)


def test_every_epoch_is_a_new_permutation():
    ids = np.concatenate([b["id"] for b in take(iter(train(batch_size=5)), 6)])
    epochs = ids.reshape(3, 10)
    np.testing.assert_array_equal(np.sort(epochs, axis=1), [np.arange(10)] * 3)
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_augmentation_differs_between_epochs_and_seeds():
    def images(seed):
        batches = take(iter(train(batch_size=10, seed=seed)), 2)
        return [b["image"][np.argsort(b["id"])] for b in batches]

    first, second = images(1)
    other, _ = images(2)
    assert np.any(first != second, axis=(1, 2, 3)).sum() >= 9
    assert np.any(first != other, axis=(1, 2, 3)).sum() >= 9


def test_workers_do_not_change_batches_nor_a_resume_in_the_second_epoch():
    """0 workers straight against 2 workers stopped at batch 4 of 2.5 per epoch."""
    expected = take(iter(train()), 8)
    workers = iter(train(num_workers=2))
    assert_equal(take(workers, 4), expected[:4])
    state = workers.get_state()
    take(workers, 2)  # what was read ahead must not matter
    workers.close()
    resumed = iter(train(num_workers=2))
    resumed.set_state(state)
    assert_equal(take(resumed, 4), expected[4:])
    resumed.close()


def test_resume_with_another_number_of_workers_and_processes():
    """A run of 2 processes and 3 batches goes on as 1 process with workers."""
    expected = take(iter(train(batch_size=6)), 6)
    resumed = iter(train(batch_size=6, skip_examples=18, num_workers=1))
    assert_equal(take(resumed, 3), expected[3:])
    resumed.close()


@pytest.mark.parametrize("skip", [0, 7])
def test_global_batches_do_not_depend_on_the_number_of_processes(skip):
    """With 10 examples no count divides an epoch; 5 batches of 6 span three."""
    expected = take(iter(train(batch_size=6, skip_examples=skip)), 5)
    for count in (2, 3):
        parts = [
            take(
                iter(
                    train(
                        batch_size=6 // count,
                        process_index=index,
                        process_count=count,
                        skip_examples=skip,
                    )
                ),
                5,
            )
            for index in range(count)
        ]
        joined = [
            {key: np.concatenate([p[key] for p in batch]) for key in batch[0]}
            for batch in zip(*parts, strict=True)
        ]
        assert_equal(joined, expected)


@pytest.mark.parametrize("workers", [0, 1])
def test_grains_own_checkpoint_check(workers):
    dataset = grain.experimental.LimitIterDataset(train(num_workers=workers), 3)
    grain.experimental.assert_equal_output_after_checkpoint(dataset)


@pytest.mark.parametrize("processes", [1, 2, 3])
@pytest.mark.parametrize("examples", [1, 5, 6, 7, 12])
def test_evaluation_sees_everything_once_and_in_step(processes, examples):
    runs = [
        list(
            pipeline.eval_dataset(
                source(examples),
                EVALUATE,
                batch_size=2,
                process_index=index,
                process_count=processes,
            )
        )
        for index in range(processes)
    ]
    assert len({len(run) for run in runs}) == 1  # no process waits for another
    batches = [batch for step in zip(*runs, strict=True) for batch in step]
    ids = np.concatenate([b["id"] for b in batches])
    mask = np.concatenate([b["mask"] for b in batches])
    assert mask.dtype == bool
    np.testing.assert_array_equal(ids[mask], np.arange(examples))
    assert (ids[~mask] == -1).all()
    assert all(b["image"].shape == (2, 12, 12, 3) for b in batches)
    assert not np.concatenate([b["image"] for b in batches])[~mask].any()


def test_evaluation_with_workers_is_the_same():
    def batches(workers):
        dataset = pipeline.eval_dataset(
            source(11), EVALUATE, batch_size=4, num_workers=workers
        )
        iterator = iter(dataset)
        result = list(iterator)
        iterator.close()
        return result

    assert_equal(batches(2), batches(0))


def test_random_degradations_of_evaluation_are_fixed():
    def images():
        dataset = pipeline.eval_dataset(source(), AUGMENT, batch_size=10)
        return next(iter(dataset))["image"]

    np.testing.assert_array_equal(images(), images())


def test_images_may_keep_their_size_without_a_resize():
    dataset = pipeline.eval_dataset(source(3), [transforms.ToArray()], batch_size=2)
    assert [b["image"].shape for b in dataset] == [(2, 16, 16, 3)] * 2


def folder_with_bad_images(tmp_path):
    root = write_folder(tmp_path / "train", {"a": 4, "b": 4}, "jpeg")
    bad = [root / "a" / "01.jpeg", root / "b" / "02.jpeg"]
    bad[0].write_bytes(bad[0].read_bytes()[:300])  # truncated
    bad[1].write_bytes(b"\xff\xd8 broken")
    return FolderSource(tmp_path, "train"), bad


def test_training_goes_on_past_bad_images(tmp_path):
    images, _ = folder_with_bad_images(tmp_path)
    dataset = pipeline.train_dataset(
        images, AUGMENT, batch_size=4, seed=0, max_bad_examples=2
    )
    ids = np.concatenate([b["id"] for b in take(iter(dataset), 4)])
    # Ids 1 and 6 are bad; 2 and 7 stand in, once per epoch.
    counts = np.bincount(ids, minlength=8)
    np.testing.assert_array_equal(counts, [2, 0, 4, 2, 2, 2, 0, 4])


def test_evaluation_masks_bad_images(tmp_path):
    images, _ = folder_with_bad_images(tmp_path)
    dataset = pipeline.eval_dataset(images, EVALUATE, batch_size=5, max_bad_examples=2)
    batches = list(dataset)
    mask = np.concatenate([b["mask"] for b in batches])
    expected = [1, 0, 1, 1, 1, 1, 0, 1, 0, 0]
    np.testing.assert_array_equal(mask, np.array(expected, bool))
    ids = np.concatenate([b["id"] for b in batches])
    np.testing.assert_array_equal(ids, [*range(8), -1, -1])


@pytest.mark.parametrize("workers", [0, 1])
def test_too_many_bad_images_name_the_file(tmp_path, workers):
    images, bad = folder_with_bad_images(tmp_path)
    datasets = [
        pipeline.train_dataset(
            images,
            AUGMENT,
            batch_size=4,
            seed=0,
            num_workers=workers,
            max_bad_examples=1,
        ),
        pipeline.eval_dataset(
            images, EVALUATE, batch_size=4, num_workers=workers, max_bad_examples=1
        ),
    ]
    for dataset in datasets:
        iterator = iter(dataset)
        with pytest.raises(DataError) as error:
            take(iterator, 4)
        assert any(str(path) in str(error.value) for path in bad)
        iterator.close()


@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 0},
        {"num_workers": -1},
        {"process_index": 2, "process_count": 2},
        {"skip_examples": -1},
        {"seed": -1},
        {"seed": 2**32},
    ],
)
def test_impossible_counts(options):
    with pytest.raises(ConfigError):
        train(**options)


class Sizes:
    """Images of different sizes; each is filled with its index plus one."""

    class_names = ()

    def __len__(self):
        return 5

    def __getitem__(self, index):
        image = np.full((4 + index, 9 - index, 3), index + 1, np.uint8)
        pair = {"image": image, "target": 255 - image}
        if index == 3:
            pair["target"] = b"broken"
        return {**pair, "id": index, "name": str(index)}


class Noise(transforms.RandomMap):
    """A random degradation, as one for evaluation."""

    def random_map(self, element, rng):
        image = np.asarray(element["image"])
        noise = rng.standard_normal(image.shape, np.float32)
        return {**element, "image": image + noise}


@pytest.mark.parametrize("workers", [0, 1])
def test_single_images_of_different_sizes(workers):
    batches = list(
        pipeline.eval_dataset(
            Sizes(),
            [paired_transforms.ToArrays()],
            batch_size=1,
            num_workers=workers,
            max_bad_examples=1,
        )
    )
    assert [batch["id"].tolist() for batch in batches] == [[i] for i in range(5)]
    assert [bool(batch["mask"][0]) for batch in batches] == [1, 1, 1, 0, 1]
    for index in (0, 1, 2, 4):
        batch = batches[index]
        assert set(batch) == {"image", "target", "id", "mask"}
        assert batch["image"].shape == (1, 4 + index, 9 - index, 3)
        assert (batch["image"] == index + 1).all()
        assert (batch["target"] == 254 - index).all()
    for key in ("image", "target"):
        assert not batches[3][key].any()


def test_batches_of_different_sizes_say_what_to_do():
    arguments = {"batch_size": 2, "max_bad_examples": 1}
    batches = pipeline.eval_dataset(
        Sizes(), [paired_transforms.ToArrays()], **arguments
    )
    with pytest.raises(DataError, match=r"image has the shape \[\d, \d, 3\] in one"):
        list(batches)
    cropped = pipeline.eval_dataset(
        Sizes(), [paired_transforms.CenterCrop(6)], **arguments
    )
    assert len(list(cropped)) == 3


@pytest.mark.parametrize("batch_size", [1, 3])
def test_example_is_what_evaluation_sees(batch_size):
    chain = [paired_transforms.CenterCrop(6), Noise(), Noise()]
    arguments = {"batch_size": batch_size, "max_bad_examples": 1}
    batches = list(pipeline.eval_dataset(Sizes(), chain, **arguments))
    joined = {
        key: np.concatenate([batch[key] for batch in batches]) for key in batches[0]
    }
    assert len(np.unique(joined["image"][0] - joined["image"][0].round())) > 50
    for index in (0, 2, 4):
        example = pipeline.example(Sizes(), chain, index)
        assert set(example) == set(joined)
        for key in joined:
            np.testing.assert_array_equal(example[key], joined[key][index])
    with pytest.raises(DataError, match="the target of 3"):
        pipeline.example(Sizes(), chain, 3)
