"""What the codec's benchmark makes of measurements, and that our programs run."""

import json

import numpy as np
import pytest
from absl import flags

from benchmarks import jpeg_codec, jpeg_codec_ours, side_by_side
from benchmarks.side_by_side import Round, WorkerError


@pytest.fixture
def setting(tmp_path):
    rng = np.random.default_rng(0)
    image = np.repeat(np.repeat(rng.integers(60, 190, (4, 4, 3)), 8, 0), 8, 1)
    image = image.astype(np.uint8)
    np.save(tmp_path / "images.npy", jpeg_codec.variations(image))
    return jpeg_codec.Setting(image, 2, 0.0, "python-of-the-peer", tmp_path)


def test_eight_different_images():
    images = jpeg_codec.variations(np.arange(16 * 16 * 3).reshape(16, 16, 3))
    assert images.shape == (8, 16, 16, 3)
    assert len({image.tobytes() for image in images}) == 8


def test_our_programs_compute_the_codec_and_its_gradient(setting):
    sums = {}
    for measure in jpeg_codec.MEASURES:
        job = json.loads(json.dumps(setting.job(measure, "straight_through", 2)))
        program = jpeg_codec_ours.build(job)
        program.run()
        sums[measure] = json.loads(json.dumps(program.facts))["checksum"]
    # Pixels stay close. With the gradient of the identity, quantisation passes the
    # weights on: they lose the part that half of the chroma's resolution takes.
    assert sums["forward"] == pytest.approx(setting.image.mean(), rel=0.02)
    assert 0.5 < sums["gradient"] < 0.8


def test_our_decoded_images_are_those_of_files(setting):
    job = setting.job("agreement", "hard", 1)
    jpeg_codec_ours.build(job).run()
    decoded = np.load(job["decoded"])
    for image, quality in zip(decoded, jpeg_codec.QUALITIES, strict=True):
        wanted = jpeg_codec.pillow(setting.image, quality)
        assert jpeg_codec.psnr(image, wanted) > 45


class Measured:
    """A worker whose program takes as long as it was told."""

    def __init__(self, side, candidate, checksum=1.0, seconds=1.0):
        self.name = f"{side} {candidate}"
        self.seconds = seconds
        self.facts = {
            "facts": {"checksum": checksum},
            "prepare_seconds": 1.0,
            "prepare_peak_bytes": 0,
            "imported_bytes": 0,
        }

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def use(monkeypatch, outside=0.0, **workers):
    def start(self, side, measure, candidate, batch=1):
        if candidate not in workers:
            raise WorkerError(f"{candidate} does not compile\nand says why at length")
        return Measured(side, candidate, **workers[candidate])

    def alternate(workers, repeats, patience):
        samples = {
            worker.name: {
                "seconds": worker.seconds,
                "processor_seconds": worker.seconds,
                "peak_bytes": 2**20,
            }
            for worker in workers
        }
        return [Round(samples, outside, 0.0)] * repeats

    monkeypatch.setattr(jpeg_codec.Setting, "start", start)
    monkeypatch.setattr(jpeg_codec, "alternate", alternate)


def test_like_is_compared_with_like(setting, monkeypatch):
    workers = {
        "cubic": {"seconds": 0.08},
        "straight_through": {"seconds": 0.01, "checksum": 9.0},
        "eager": {"seconds": 0.16},
    }
    use(monkeypatch, **workers)
    found = jpeg_codec.compare(setting, "gradient", 1)
    text = jpeg_codec.text("gradient", found)
    assert "peer eager over ours cubic: 2.0 x" in text
    assert "target 3.0 x NOT reached" in text
    assert "disturbed" not in text
    assert "peer compiled: none, compiled does not compile\n" in text
    # Eight calls of one image.
    assert [row["seconds"] for row in found["rows"]] == [0.01, 0.00125, 0.02]
    use(monkeypatch, outside=2 * side_by_side.QUIET, **workers, compiled={})
    found = jpeg_codec.compare(setting, "forward", 8)
    assert [row["seconds"] for row in found["rows"]] == [0.08, 0.01, 0.16, 1.0]
    assert "others used up to 10%" in jpeg_codec.text("forward", found)
    use(monkeypatch, **workers | {"eager": {"checksum": 1.1}})
    with pytest.raises(WorkerError, match="do not compute the same"):
        jpeg_codec.compare(setting, "forward", 1)
    del workers["eager"]
    use(monkeypatch, **workers)
    with pytest.raises(WorkerError, match="eager does not compile"):
        jpeg_codec.compare(setting, "forward", 1)


def test_flags_have_defaults():
    values = flags.FlagValues()
    jpeg_codec.define_flags(values)
    values(["benchmark", "--nopeer"])
    assert not values.peer
    assert values.repeats == 7
