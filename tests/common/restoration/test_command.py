"""`--mode=predict` of images, from flags to files."""

import numpy as np
import pytest
from absl.testing import flagsaver
from PIL import Image

from common import config as configs
from common.errors import ConfigError, DataError
from common.restoration import command, pictures
from tests.common import launching, toy
from tests.common.restoration.toy import Toy, save_gain

MAIN = "tests.common.restoration.toy_main"


def paint(path, *size, level=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, (level, level, level)).save(path)


def level(path):
    with Image.open(path) as image:
        values = np.unique(np.asarray(image))
    assert len(values) == 1
    return int(values[0])


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch):
    monkeypatch.setattr(command.compile_cache, "use", lambda: None)


@pytest.fixture
def home(tmp_path):
    save_gain(tmp_path / "half.npz", 0.5)
    paint(tmp_path / "in/a.jpg", 20, 10)
    paint(tmp_path / "in/b/c.png", 3, 40, level=60)
    return tmp_path


def run(home, **flags):
    config = toy.get_config()
    flags = {"input": str(home / "in"), "output": str(home / "out")} | flags
    with flagsaver.flagsaver(**flags):
        command.run(Toy(config), config, None, str(home / "half.npz"))


def test_every_image_is_restored(home, capsys):
    run(home)
    assert abs(level(home / "out/a.png") - 50) <= 1
    assert level(home / "out/b/c.png") == 30
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"{home}/in/a.jpg -> {home}/out/a.png: 20 x 10, ")
    assert second.startswith(f"{home}/in/b/c.png -> {home}/out/b/c.png: 3 x 40, ")
    assert first.endswith(" s")


def test_options_reach_the_network(home, monkeypatch, caplog):
    seen = []

    def look(self, image, **options):
        seen.append((image.shape, options["ensemble"], options["tiling"]))
        return image

    monkeypatch.setattr(command.Restorer, "__call__", look)
    run(home, ensemble=True, tile=16, tile_overlap=3, format="webp")
    for shape, ensemble, tiling in seen:
        assert shape in ((10, 20, 3), (40, 3, 3))
        assert ensemble
        assert (tiling.size, tiling.overlap) == (16, 3)
    assert (home / "out/a.webp").exists()
    assert caplog.text.count("sees one tile of 16 pixels") == 1


def test_bad_ones_are_skipped_and_counted(home, capsys, caplog):
    (home / "in/aa.png").write_text("no image")
    bad = home / "in/c.png"
    paint(bad, 64, 64)
    bad.write_bytes(bad.read_bytes()[:-30])
    with pytest.raises(DataError, match=r"2 of 4 images .*aa\.png, "):
        run(home)
    assert f"{home}/in/aa.png: cannot be read: no image of a known kind" in caplog.text
    assert f"{bad}: cannot be read: " in caplog.text
    assert len(capsys.readouterr().out.splitlines()) == 2
    names = [x.name for x in (home / "out").rglob("*") if x.is_file()]
    assert sorted(names) == ["a.png", "c.png"]
    assert level(home / "out/b/c.png") == 30


def test_a_result_that_cannot_be_is_skipped(home, caplog):
    save_gain(home / "half.npz", 3e38)
    paint(home / "in/a.jpg", 20, 10, level=0)
    paint(home / "in/big.png", 20, 10, level=255)
    (home / "out/big.png").mkdir(parents=True)  # where a file should go
    with pytest.raises(DataError, match="1 of 3 images"):
        run(home)
    assert "big.png: " in caplog.text


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"input": None}, "needs --input=DIR_OR_FILE and --output=DIR"),
        ({"output": None}, "needs --input=DIR_OR_FILE and --output=DIR"),
        ({"format": "pngs"}, "unknown --format 'pngs'; did you mean 'png'?"),
        ({"tile": 20}, "--tile=20 must be a multiple of 8, e.g. 16"),
        ({"tile": 3}, "--tile=3 must be a multiple of 8, e.g. 8"),
        ({"tile": 64, "tile_overlap": 64}, r"tile_overlap=64 must be in \[0, 64\)"),
        ({"tile_overlap": 8}, "--tile_overlap needs --tile=N"),
        ({"output": __file__ + "/x"}, "x cannot be written: Not a directory"),
    ],
)
def test_mistakes_are_found_before_the_work(home, flags, message, monkeypatch):
    monkeypatch.setattr(pictures, "read", lambda path: pytest.fail("read"))
    with pytest.raises(ConfigError, match=message):
        run(home, **flags)


@pytest.mark.parametrize("way", ["task", "task and weights", "run"])
def test_from_the_command_line(home, way):
    """Broken images among good ones of two sizes: exit code 2, the rest is there."""
    (home / "in/aa.png").write_text("no image")
    configs.save(toy.get_config(), home / "run", {})
    save_gain(home / "run/weights.safetensors", 0.5)
    chosen = {
        "task": [f"--task={home}/half.npz"],
        "task and weights": ["--task=none.npz", f"--init_from={home}/half.npz"],
        "run": [f"--workdir={home}/run"],
    }
    args = [f"--input={home}/in", f"--output={home}/out", *chosen[way]]
    cache = {
        "MULTIAXIS_CACHE": str(home / "cache"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    code, out, err = launching.run("--mode=predict", *args, module=MAIN, **cache)
    assert code == 2, err
    assert len(out.splitlines()) == 2
    last = err.splitlines()[-1]
    assert last == f"error: 1 of 3 images were not restored: {home}/in/aa.png"
    assert "Traceback" not in err
    assert len(list(home.glob("cache/xla/*/jit_apply-*-cache"))) == 2
    assert level(home / "out/b/c.png") == 30
