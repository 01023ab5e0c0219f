"""The command line as a stranger uses it: help, mistakes, a run from end to end."""

import json
import re
import subprocess
import sys

import pytest
from absl.testing import flagsaver
from PIL import Image

from common import config as configs
from common import dry_run, launch
from common.errors import ConfigError, DataError
from tests.common import launching, toy

DIGITS = "--config=configs/maxvit/digits.py:smoke"


def maxvit(*args):
    return launching.run(*args, module="maxvit.main")


def test_help_lists_everything():
    code, out, _ = maxvit("--help")
    assert code == 0
    for word in ("--workdir", "--mode", "--dry_run", "configs/maxvit/digits.py", "75"):
        assert word in out
    for mode in (*launch.MODES, "table"):
        assert mode in out


def test_help_needs_no_jax():
    """What makes it answer at once wherever it runs."""
    code = (
        "import sys, common.launch as l;"
        "l._help(l._Package('maxvit', ''));"
        "assert not {'jax', 'flax', 'grain', 'matplotlib'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=launching.ROOT)
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--mode=trian"], "unknown mode 'trian'; did you mean 'train'? (choices: "),
        (["--mode=tables"], "unknown mode 'tables'; did you mean 'table'?"),
        (["--mode=plan", DIGITS], "--mode=plan needs --devices=N"),
        (["--mode=plan", DIGITS, "--devices=0"], "--devices"),
        (
            [DIGITS, "--devices=8", "--mesh=data:8"],
            "--devices and --mesh can be given with --mode=plan, --mode is train",
        ),
        (
            ["--mode=plan", DIGITS, "--devices=256", "--mesh=data:64"],
            "--mesh=data:64 makes 64 devices (data 64 x fsdp 1), --devices is 256",
        ),
        (["--mode=table", "--workdir=gs://b/run"], "mount a bucket"),
        (["--mode=table", DIGITS], "--mode=table takes no --config"),
        (["--mode=table", "--dry_run"], "--mode=table takes no --dry_run"),
        (
            ["--mode=plan", DIGITS, "--devices=8", "--dry_run"],
            "--mode=plan takes no --dry_run",
        ),
        (
            ["--mode=table", f"--workdir={__file__}/x"],
            f"--workdir={__file__}/x cannot be written: Not a directory",
        ),
        (["--confg=x"], "Unknown command line flag 'confg'. Did you mean: config"),
        ([], "--config is needed, e.g. one of configs/maxvit/*.py"),
        (
            ["--config=configs/maxvit/digit.py"],
            "unknown config file 'configs/maxvit/digit.py'; did you mean "
            "'configs/maxvit/digits.py'",
        ),
        (["--config=configs/maxvit/digits.py:smok"], "did you mean 'smoke'"),
        (
            ["--config.batch_size=16", "--workdir=w"],
            "--config.batch_size changes a config: give --config, too, as of configs/",
        ),
        (
            [DIGITS, "--config.optimizer.weight_decy=1"],
            "unknown config key 'optimizer.weight_decy'; did you mean "
            "--config.optimizer.weight_decay?",
        ),
        ([DIGITS, "--config.batch_size=many"], "--config.batch_size=many: invalid"),
        ([DIGITS], "--workdir is needed"),
        ([DIGITS, "--workdir=gs://b/run"], "mount a bucket"),
        (
            [DIGITS, "--workdir=/tmp/x", "a.png"],
            "'a.png' is given, but --mode is train",
        ),
        ([DIGITS, "--workdir=/tmp/x", "--config.batch_size=0"], "must be greater than"),
        ([DIGITS, "--workdir=/tmp/x", "--num_processes=2"], "go together"),
        (["--mode=predict", "--workdir=/nowhere"], "/nowhere holds no config.json"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_give_exit_2_and_one_line(args, message):
    code, out, err = maxvit(*args)
    assert code == 2, err
    assert out == ""
    assert message in err
    assert err.startswith("error: ")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--config=configs/maxvit/folder.py:T,smoke", "--data_dir=/no/such"],
            "no such folder: /no/such; expected train/<class>/<image>",
        ),
        (
            ["--config=configs/maxvit/imagenet1k.py:T,smoke", "--data_dir=/no/such"],
            "/no/such",
        ),
        ([DIGITS, "--config.model.window_size=0"], "window_size is a positive integer"),
        ([DIGITS, "--config.mesh.fsdp=3"], "fsdp=3 does not match the 1 devices"),
        ([DIGITS, "--config.optimizer.no_decay=('x1',)"], "'x1' matches no parameter"),
        ([DIGITS, "--init_from=/no/w.npz"], "/no/w.npz"),
        ([DIGITS, "--config.data.name=digit"], "did you mean 'digits'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_found_later_give_exit_2_and_name_what_was_searched(
    args, message, tmp_path
):
    code, _, err = maxvit(*args, f"--workdir={tmp_path}")
    assert code == 2, err
    assert message in err.splitlines()[-1]
    assert "Traceback" not in err


RESTORING = "tests.common.restoration.toy_main"


def test_help_shows_what_a_package_adds():
    code, out, _ = launching.run("--help", module=RESTORING)
    assert code == 0
    for word in ("--input", "ensemble:", "--tile_overlap", "--mode=predict --task="):
        assert word in out
    assert "--input" not in maxvit("--help")[1]


def test_what_a_package_adds_needs_no_jax():
    code = (
        "import sys, common.restoration.flags;"
        "assert not {'jax', 'numpy', 'PIL', 'cv2'} & set(sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=launching.ROOT)
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (["--tile=64"], "--tile can be given with --mode=predict, --mode is train"),
        (
            ["--mode=eval", "--noensemble", "--output=x"],
            "--ensemble and --output can be given with --mode=predict, --mode is eval",
        ),
        (["--mode=predict", "a.png"], "'a.png': images are given with --input here"),
        (
            ["--mode=predict", "--input=x", "--output=y"],
            "one of --task, --config and --workdir is needed",
        ),
        (
            ["--mode=predict", "--config=tests/common/toy_config.py", "--input=x"],
            "--workdir or --init_from is needed",
        ),
        (
            ["--mode=predict", "--task=a", "--workdir=b"],
            "--task=a and --workdir exclude each other",
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_with_what_a_package_adds(args, message):
    code, out, err = launching.run(*args, module=RESTORING)
    assert (code, out) == (2, "")
    assert err == f"error: {message}\n"


PAINTING = "tests.common.toy_modes_main"


def test_modes_of_a_package_read_its_flags(tmp_path):
    args = ["--mode=paint", "--input=x", "--toy_colour=blue", f"--workdir={tmp_path}"]
    code, out, _ = launching.run(*args, module=PAINTING)
    assert (code, out) == (0, f"x blue {tmp_path}\n")


def test_modes_of_a_package_that_run_experiments(tmp_path):
    """With a config of their own where none is given, and with any that is."""
    args = ["--mode=sweep", f"--workdir={tmp_path}", "--toy_colour=blue"]
    code, out, err = launching.run(*args, "--data_dir=x", module=PAINTING)
    assert (code, out) == (0, f"Toy 40 {tmp_path} x blue\n"), err
    config = ["--config=tests/common/toy_config.py", "--config.total_steps=7"]
    code, out, err = launching.run(*args, *config, module=PAINTING)
    assert (code, out) == (0, f"Toy 7 {tmp_path} None blue\n"), err


def test_help_shows_how_its_modes_are_called():
    code, out, _ = launching.run("--help", module=PAINTING)
    assert code == 0
    lines = [line.partition("-m toy.main ")[2] for line in out.splitlines()]
    assert "--mode=paint --input=DIR --toy_colour=NAME" in lines
    assert "--mode=count [--workdir=DIR]" in lines
    assert "--toy_colour: What to paint with." in out
    assert "--input: Image file" in out


@pytest.mark.parametrize(
    ("args", "message"),
    [
        (
            ["--mode=train", "--input=x", "--toy_colour=blue"],
            "--toy_colour and --input can be given with --mode=paint or --mode=count "
            "or --mode=sweep, --mode is train",
        ),
        (
            ["--mode=table", "--toy_colour=blue"],
            "--toy_colour can be given with --mode=paint or --mode=count or "
            "--mode=sweep, --mode is table",
        ),
        (["--mode=paint", "a.png"], "'a.png' is given, but --mode is paint"),
        (["--mode=sweep"], "--workdir is needed"),
        (["--mode=sweep", "--dry_run"], "--mode=sweep takes no --dry_run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_with_modes_of_a_package(args, message):
    code, out, err = launching.run(*args, module=PAINTING)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("config.optimzer.lr = 3", 'Did you mean "optimizer"'),
        ("1 / 0", "division by zero"),
        ("config.batch_size = 'many'", "batch_size"),
        ("raise ValueError('no such thing')", "no such thing"),
        ("][", "unmatched"),
    ],
)
def test_a_bug_in_a_config_file_is_one_line_with_its_place(tmp_path, line, message):
    file = tmp_path / "mine.py"
    file.write_text(
        "from maxvit.config import default_config\n"
        "def get_config(arg=None):\n"
        "    config = default_config()\n"
        f"    {line}\n"
        "    return config\n"
    )
    code, _, err = maxvit(f"--config={file}", f"--workdir={tmp_path / 'run'}")
    assert code == 2, err
    assert err.count("\n") == 1
    assert message in err
    assert "mine.py:4" in err or "mine.py, line 4" in err


def test_workdir_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = maxvit(DIGITS, f"--workdir={tmp_path / 'file'}")
    assert code == 2
    assert err.splitlines()[-1].startswith(f"error: workdir {tmp_path / 'file'}: ")


@pytest.mark.parametrize("mode", launch.MODES)
def test_who_writes_tries_first(mode, tmp_path):
    """In training every process checks it, at its own time."""
    (tmp_path / "file").write_text("")
    with flagsaver.flagsaver(mode=mode, workdir=str(tmp_path / "file" / "run")):
        if mode in ("eval", "plan", "export"):
            with pytest.raises(ConfigError, match=r"run cannot be written: Not a dir"):
                launch._workdir()
        else:
            assert launch._workdir()
    with flagsaver.flagsaver(mode=mode, workdir=str(tmp_path / "new")):
        assert launch._workdir() == str(tmp_path / "new")
    assert (tmp_path / "new").exists() == (mode in ("eval", "plan", "export"))


class Adopting(toy.Toy):
    """Its weights are gone, and it would set the seed of its data."""

    adopted = ("data",)

    def adopt(self, init_from, given, training=False):
        raise DataError(f"no weights: searched {init_from}")


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_run_goes_on_without_the_weights_it_began_with(mode, tmp_path, caplog):
    def adopt(given):
        task = Adopting(toy.get_config(data__image_size=8, data__num_workers=0))
        with flagsaver.flagsaver(mode=mode):
            launch._adopt(task, "/no/w.npz", given, str(tmp_path))
        return task.config.data.image_size, task.config.data.num_workers

    with pytest.raises(DataError, match=r"/no/w\.npz"):
        adopt(())  # no run
    saved = toy.get_config(data__image_size=16, data__num_workers=2)
    configs.save(saved, tmp_path, {})
    if mode == "eval":
        with pytest.raises(DataError, match=r"/no/w\.npz"):
            adopt(())
        return
    assert adopt(()) == (16, 2)
    assert f"searched /no/w.npz; what they expect is as in {tmp_path}" in caplog.text
    assert adopt({"data.num_workers"}) == (16, 0)


def test_indivisible_batch_names_both_numbers(tmp_path):
    code, _, err = launching.run(*launching.toy(tmp_path, batch_size=20), devices=8)
    assert code == 2
    assert "batch_size=20 is not divisible by the 8 devices" in err.splitlines()[-1]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("run")
    code, out, err = maxvit(DIGITS, f"--workdir={workdir}")
    assert code == 0, err
    return workdir, out


def test_a_run_leaves_everything_a_person_wants(trained):
    workdir, out = trained
    names = {path.name for path in workdir.iterdir()}
    assert names >= {
        "checkpoints", "metrics.jsonl", "tensorboard", "config.json",
        "overrides.json", "versions.json", "class_names.json", "report.html",
        "curves.png", "confusion.png", "samples.png", "weights.safetensors",
        "weights.safetensors.sha256", "examples",
    }  # fmt: skip
    assert "top1" in out
    assert str(workdir / "report.html") in out
    assert "-m maxvit.main --mode=predict" in out
    page = (workdir / "report.html").read_text()
    assert "python -m maxvit.main --config=configs/maxvit/digits.py:smoke" in page


def test_predict_prints_classes_with_probabilities(trained):
    workdir, _ = trained
    examples = sorted((workdir / "examples").glob("*.png"))[:2]
    code, out, err = maxvit(
        "--mode=predict", f"--workdir={workdir}", f"--image={examples[0]}", examples[1]
    )
    assert code == 0, err
    lines = out.splitlines()
    assert [line.partition(": ")[0] for line in lines] == list(map(str, examples))
    shares = [float(part.split()[1]) for part in lines[0].split(": ")[1].split(", ")]
    assert shares == sorted(shares, reverse=True)
    assert len(shares) == 5
    assert 0 < sum(shares) <= 100.5


def test_predict_names_a_broken_image(trained, tmp_path):
    workdir, _ = trained
    broken = tmp_path / "broken.png"
    Image.new("RGB", (64, 64)).save(broken)
    broken.write_bytes(broken.read_bytes()[:60])
    code, out, err = maxvit(
        "--mode=predict", f"--workdir={workdir}", f"--image={broken}"
    )
    assert (code, out) == (2, "")
    assert str(broken) in err.splitlines()[-1]


def test_eval_prints_one_line_of_json(trained):
    workdir, _ = trained
    code, out, err = maxvit("--mode=eval", f"--workdir={workdir}")
    assert code == 0, err
    last = [json.loads(x) for x in (workdir / "metrics.jsonl").open()][-1]
    assert json.loads(out)["top1"] == last["top1"]


def test_dry_run_describes_and_trains_nothing(tmp_path):
    code, out, err = maxvit(DIGITS, "--dry_run", f"--workdir={tmp_path / 'run'}")
    assert code == 0, err
    for word in ("Total: 349,474", "FLOPs", "compiled memory", "mesh: data=1", "steps"):
        assert word in out
    assert not (tmp_path / "run").exists()


def test_flops_do_not_depend_on_accumulation():
    counts = []
    for parts in (1, 4):
        config = toy.get_config(grad_accumulation=parts)
        text = dry_run.describe(toy.Toy(config), config)
        counts.append(re.search(r"training step (\S+) G", text)[1])
    assert counts[0] == counts[1]
    assert float(counts[0]) > 0


def test_fake_data_needs_nothing_else(tmp_path):
    config = "--config=configs/maxvit/folder.py:T,smoke"
    code, out, err = maxvit(config, "--fake_data", f"--workdir={tmp_path}")
    assert code == 0, err
    assert "top1" in out


def test_predict_runs_on_one_device_whatever_the_mesh_was(trained, tmp_path):
    workdir, _ = trained
    saved = json.loads((workdir / "config.json").read_text())
    saved["mesh"] |= {"data": 2, "fsdp": 4}
    (tmp_path / "config.json").write_text(json.dumps(saved))
    image = next((workdir / "examples").glob("*.png"))
    code, out, err = maxvit(
        "--mode=predict",
        f"--workdir={tmp_path}",
        f"--init_from={workdir}",
        f"--image={image}",
    )
    assert code == 0, err
    assert out.startswith(str(image))


@pytest.mark.slow
def test_benchmark_prints_rates():
    code, out, err = maxvit(DIGITS, "--mode=benchmark")
    assert code == 0, err
    result = json.loads(out)
    assert result["images_per_second"] > 0
    assert 0 <= result["input_wait_share"] <= 1


def test_finetune_on_a_folder_from_released_weights(trained, tmp_path):
    """Other classes than the weights': a new head, the body as released."""
    workdir, _ = trained
    for name in ("cat", "dog", "emu"):
        for index in range(12):
            path = tmp_path / "pets" / name / f"{index}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.effect_noise((40, 40), 50 + index).save(path)
    args = [
        DIGITS,
        f"--workdir={tmp_path / 'run'}",
        f"--data_dir={tmp_path / 'pets'}",
        f"--init_from={workdir}",
        "--config.data.source=folder",
        "--config.batch_size=8",
        "--config.eval_batch_size=8",
    ]
    code, _, err = maxvit(*args)
    assert code == 2
    assert "params/head/logits/kernel" in err
    code, out, err = maxvit(*args, "--config.reinitialize=('^params/head/logits/',)")
    assert code == 0, err
    assert "top1" in out
    names = json.loads((tmp_path / "run" / "class_names.json").read_text())
    assert names == ["cat", "dog", "emu"]


@pytest.mark.slow
def test_broken_pictures_past_the_limit_end_the_run_by_name(tmp_path):
    for index in range(40):
        path = tmp_path / "pets" / ("cat", "dog")[index % 2] / f"{index:02d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.effect_noise((40, 40), 60).save(path)
        path.write_bytes(path.read_bytes()[: 200 if index in (7, 8) else None])
    args = [
        "--config=configs/maxvit/folder.py:T,smoke",
        f"--data_dir={tmp_path / 'pets'}",
        "--config.total_steps=5",
    ]
    code, out, err = maxvit(*args, f"--workdir={tmp_path / 'a'}")
    assert code == 0, err
    assert "Cannot read image" in err
    assert "top1" in out
    strict = "--config.data.max_bad_examples=0"
    code, _, err = maxvit(*args, strict, f"--workdir={tmp_path / 'b'}")
    assert code == 2
    last = err.splitlines()[-1]
    assert "max_bad_examples is 0" in last
    assert "07.png" in last or "08.png" in last
