"""Every config in configs/ builds, validates, and runs one step."""

import importlib.util
import itertools
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from absl import flags
from ml_collections import config_flags

from common import config as configs
from common.data.degradations import DEGRADATIONS
from common.errors import ConfigError
from common.train import loop
from common.train.experiment import Experiment

ROOT = pathlib.Path(__file__).resolve().parents[1]
FILES = sorted(
    path.relative_to(ROOT)
    for path in (ROOT / "configs").rglob("*.py")
    if path.name != "__init__.py"
)
# Package -> its tasks, as its main.py names them.
TASKS = {
    "compression": {"tables": "compression.tasks:Tables"},
    "deblur_diffusion": {"restoration": "deblur_diffusion.tasks:Deblurring"},
    "enhancement": {
        "restoration": "enhancement.tasks:Restoration",
        "satellite": "enhancement.satellite_task:SatelliteSR",
    },
    "iqa": {
        "nima": "iqa.nima:Nima",
        "preference": "iqa.preference_task:Preference",
    },
    "maxim": {"restoration": "maxim.tasks:Restoration"},
    "maxvit": {"classification": "maxvit.tasks:Classification"},
    "resizer": {
        "classification": "resizer.tasks:Classification",
        "nima": "iqa.nima:Nima",
    },
    "robust": {"classification": "robust.classification:Classification"},
}
SIZES = ("B", "L", "XL")
TUNING = (*SIZES, "B,image_size=224", "XL,image_size=512")
# The first is traced at full width.
ARGUMENTS = {
    "configs/compression/imagenet_accuracy.py": ("T", "B"),
    "configs/compression/kodak.py": ("4:4:4", "4:2:0"),
    "configs/compression/photos.py": ("4:4:4", "subsampling=4:2:2"),
    "configs/deblur_diffusion/div2k.py": ("residual", "plain"),
    "configs/deblur_diffusion/photos.py": ("loss=diffusion", "loss=regression"),
    "configs/deblur_diffusion/gopro.py": ("residual", "plain", "loss=regression"),
    "configs/enhancement/deblur.py": ("loss=none", "loss=pdl,weights=FILE"),
    "configs/enhancement/denoise.py": ("sigma=50", "loss=swd,weights=FILE"),
    "configs/enhancement/photos.py": (
        *("superresolution", "denoise", "demosaic", "deblur", "jpeg"),
        *(f"loss={x}" for x in ("vgg_l1", "gram", "cx", "cobi", "lpips")),
    ),
    "configs/enhancement/satellite.py": (
        *("satsr", "satsr_wide", "edsr", "srcnn"),
        *("rcan", "rrdb,scale=4", "satsr,preset=realesrgan,scale=4"),
        *("rcan,smoke", "srcnn,smoke", "satsr_wide,smoke,scale=8"),
        *("rrdb,smoke,scale=4", "satsr,smoke,scale=3"),
    ),
    "configs/enhancement/satellite_photos.py": (
        *("satsr", "preset=ideal_bicubic", "rcan", "srcnn", "smoke,scale=8"),
    ),
    "configs/enhancement/superresolution.py": ("factor=4", "factor=3,smoke"),
    "configs/iqa/ava.py": ("maxvit_tiny", "maxvit_tiny,image_size=384", "resnet50"),
    "configs/iqa/ciqa.py": ("distance", "concatenation,backbone=resnet50"),
    "configs/iqa/preference_photos.py": ("three", "one", "model=concatenation"),
    "configs/iqa/rated_photos.py": ("cnniqa", "resnet18"),
    "configs/maxim/deblur.py": ("GoPro,one_gpu", "RealBlur_R", "RealBlur_J", "REDS"),
    "configs/maxim/dehaze.py": ("ITS", "OTS"),
    "configs/maxim/denoise.py": ("SIDD", "SIDD,one_gpu"),
    "configs/maxim/derain.py": ("Rain13k", "Rain13k,test=Test100"),
    "configs/maxim/enhance.py": ("FiveK", "LOL"),
    "configs/maxim/raindrop.py": ("test=a", "test=b"),
    "configs/maxim/synthetic.py": (
        *(name for name in DEGRADATIONS if name != "bicubic"),
        "haze,variant=M-1",
    ),
    "configs/maxvit/imagenet1k.py": ("T", "S", "B", "L"),
    "configs/maxvit/imagenet1k_finetune.py": ("T", "S", "B", "L,image_size=512"),
    "configs/maxvit/imagenet21k.py": SIZES,
    "configs/maxvit/imagenet21k_finetune.py": TUNING,
    "configs/maxvit/jft.py": SIZES,
    "configs/maxvit/jft_finetune.py": TUNING,
    "configs/resizer/ava.py": (
        *("efficientnet_b0,start=network", "densenet121,resizer=bilinear"),
        "inception_v2",
    ),
    "configs/resizer/folder.py": ("resnet50,published", "resnet18,phase=0"),
    "configs/resizer/imagenet.py": (
        *("mobilenet_v2", "resnet50,phase=0", "inception_v2,input_size=224"),
        "densenet121,resizer=bilinear",
    ),
    "configs/resizer/maxvit.py": ("tiny", "small,resizer=learned"),
    "configs/resizer/photo_tiles.py": ("phase=1", "phase=0"),
    "configs/resizer/rated_photos.py": ("phase=1", "phase=0"),
    "configs/robust/cifar.py": ("cifar10", "cifar100", "cifar100,noise=human"),
    "configs/robust/digits.py": ("symmetric", "noise=asymmetric_mnist"),
    "configs/robust/folder.py": ("image_size=32",),
    "configs/robust/mnist.py": ("symmetric", "noise=pair"),
    "configs/maxvit/folder.py": ("T", "B,finetune", "T,image_size=384"),
    "configs/maxvit/ablations.py": (
        "no_grid_s1",
        *(f"no_grid_s{s}" for s in (2, 3)),
        *(f"block_for_grid_s{s}" for s in (1, 2, 3)),
        *(f"no_mbconv_s{s}" for s in (1, 2, 3, 4)),
        *("C-GA-BA", "BA-C-GA", "BA-GA-C", "GA-C-BA", "GA-BA-C"),
        *(f"{row},variant={v}" for row in ("parallel", "swin_depths") for v in "TSBL"),
    ),
}
# One file per package goes through the whole loop, with evaluation and report.
WHOLE_RUN = (
    "configs/compression/photos.py",
    "configs/deblur_diffusion/photos.py",
    "configs/enhancement/photos.py",
    "configs/iqa/rated_photos.py",
    "configs/maxim/photos.py",
    "configs/maxvit/digits.py",
    "configs/resizer/photo_tiles.py",
    "configs/robust/digits.py",
)
# Compiling is nearly all of a smoke run's time, and its result is used once. Options
# that not every supported jax has are an error.
QUICK = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def load(path, arg):
    spec = importlib.util.spec_from_file_location("config_file", ROOT / path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, module.get_config(arg).lock()


def task_of(path, config):
    module, name = TASKS[path.parts[1]][config.task].split(":")
    return getattr(importlib.import_module(module), name)(config)


def smoke(path):
    _, config = load(path, "smoke")
    if config.data.source != "bundled":
        config.data.source = "fake"
    config.data.num_classes = config.data.num_classes or 10
    config.total_steps = 1
    configs.validate(config, TASKS[path.parts[1]])
    return config


def test_every_package_has_its_tasks_here():
    assert {path.parts[1] for path in FILES} == set(TASKS)
    names = {str(path) for path in FILES}
    assert names >= ARGUMENTS.keys() | set(WHOLE_RUN)
    assert {pathlib.Path(path).parts[1] for path in WHOLE_RUN} == set(TASKS)


@pytest.mark.parametrize("path", FILES, ids=str)
def test_docstring_has_the_command_and_the_expectation(path):
    module, _ = load(path, None)
    text = module.__doc__
    assert f"--config={path}" in text.replace("\\\n", "")
    assert "Hardware" in text
    assert "top-1" in text or "metric" in text


@pytest.mark.parametrize(
    ("path", "arg"),
    [(p, arg) for p in FILES for arg in ARGUMENTS.get(str(p), (None,))],
    ids=str,
)
def test_full_size_config_validates_and_has_a_model(path, arg):
    """The model is described, not made: the largest would not fit this machine."""
    _, config = load(path, arg)
    configs.validate(config, TASKS[path.parts[1]])
    config.data.num_classes = config.data.num_classes or 10
    task = task_of(path, config)
    assert task.batch_spec(2)["image"].shape[0] == 2
    assert task.transforms("train")
    assert task.transforms("eval")


@pytest.mark.parametrize("path", FILES, ids=str)
def test_full_size_config_has_a_loss(path):
    """Shapes only, with few blocks: tracing takes its time per block."""
    _, config = load(path, ARGUMENTS.get(str(path), (None,))[0])
    config.data.num_classes = config.data.num_classes or 10
    judge = config.classifier.config.get("model", {}) if "classifier" in config else {}
    for model in (config.model, judge):
        if "depths" in model:
            model.depths = (1,) * len(model.depths or (1, 1, 1, 1))
    for name in ("num_stages", "num_groups", "num_bottleneck_blocks"):
        if name in config.model:
            config.model[name] = 1
    task = task_of(path, config)
    spec = task.batch_spec(2)
    variables = jax.eval_shape(task.init, jax.random.key(0), spec)
    losses = jax.eval_shape(task.loss, variables, spec, jax.random.key(0)).loss
    assert losses.shape == (2,)
    assert losses.dtype == jnp.float32


def any_state(abstract):
    """Values that a step can start from, without compiling an initialiser."""
    rng = np.random.default_rng(0)

    def fill(path, leaf):
        names = [getattr(key, "key", getattr(key, "name", None)) for key in path]
        if not {"params", "model_state"} & set(names):
            return np.zeros(leaf.shape, leaf.dtype)
        if names[-1] in ("scale", "var"):
            return np.ones(leaf.shape, leaf.dtype)
        if names[-1] == "log_tables":
            return np.full(leaf.shape, np.log(20), leaf.dtype)
        return rng.normal(0, 0.02, leaf.shape).astype(leaf.dtype)

    values = jax.tree_util.tree_map_with_path(fill, abstract)
    return jax.device_put(values, jax.tree.map(lambda leaf: leaf.sharding, abstract))


def compiled(lowered, programs={}):  # noqa: B006 (it is the memory)
    """Compiles each program once: small versions of experiments are often equal."""
    text = lowered.as_text()
    if text not in programs:
        programs[text] = lowered.compile(compiler_options=QUICK)
    return programs[text]


def config_frozen(experiment):
    """What a loss looks through, of which small experiments have nothing."""
    frozen = experiment.task.frozen()
    assert frozen == {}
    return frozen


@pytest.mark.parametrize(
    "path", [path for path in FILES if str(path) not in WHOLE_RUN], ids=str
)
def test_smoke_takes_one_step(path):
    config = smoke(path)
    experiment = Experiment(task_of(path, config), config, devices=jax.devices()[:1])
    experiment.check()
    batches = experiment.train_iterator()
    batch = next(batches)
    batches.close()
    step = compiled(experiment.lower_step(1))
    before = any_state(experiment.abstract_state)
    params = jax.device_get(before.params)
    after, metrics = step(before, batch, config_frozen(experiment))
    assert after.step == 1
    if config.task == "classification":
        classes = config.data.num_classes
        # What a model that knows nothing loses: it has small random weights.
        chance = {"softmax": math.log(classes), "sigmoid": classes * math.log(2)}
        assert metrics["loss"] == pytest.approx(chance[config.loss.name], rel=0.3)
        heads = (
            p.get("head", p.get("backbone", p))["logits"]
            for p in (params, after.params)
        )
        params, trained = heads
    elif config.task == "nima":
        # All scores equally likely, against votes on one side or in the middle.
        assert 0.05 < metrics["loss"] < 0.55
        params, trained = params["head"], after.params["head"]
    elif config.task == "preference":
        # Even odds of shares: no more than log(2), but for small random weights.
        assert 0.3 < metrics["loss"] < 0.8
        trained = after.params
    elif "psnr_predictor" in metrics:
        # Noise that is not found costs its mean size, the root of 2 / pi.
        assert 0.6 < metrics["loss"] < 1.0
        trained = after.params
    else:
        # Small weights leave the images nearly as they are.
        assert 5 < metrics["psnr"] < 40
        trained = after.params
    changed = jax.tree.map(lambda old, new: np.any(old != new), params, trained)
    assert config.schedule.peak == 0 or any(jax.tree.leaves(changed))


@pytest.mark.parametrize("path", WHOLE_RUN)
def test_smoke_run_takes_one_step(path, tmp_path):
    path = pathlib.Path(path)
    config = smoke(path)
    metrics = loop.train(task_of(path, config), config, tmp_path)
    assert metrics["step"] == 1
    assert all(map(math.isfinite, metrics.values()))
    known = [metrics[x] for x in ("loss", "psnr_input", "psnr_10") if x in metrics]
    assert 0 < known[0] < 100


def parse(*words):
    """Returns the config as a command line would make it."""
    words = ["main", *words]
    values = flags.FlagValues()
    holder = config_flags.DEFINE_config_file(
        "config", flag_values=values, lock_config=True, sys_argv=words
    )
    values(words)
    return holder.value


FOLDER = "--config=configs/maxvit/folder.py:T,image_size=384"


def test_sizes_on_the_command_line(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert parse(FOLDER).data.image_size == 384
    assert parse(FOLDER, "--config.data.image_size=512").data.image_size == 512
    config = parse(
        FOLDER,
        "--config.data.image_size=(224,448)",
        "--config.model.window_size=7,14",
        "--config.model.grid_size=7",
    )
    configs.validate(config, TASKS["maxvit"])
    task = task_of(pathlib.Path("configs/maxvit"), config)
    assert task.batch_spec(2)["image"].shape == (2, 224, 448, 3)
    model = task.build_model(10)
    assert (model.window_size, model.grid_size) == ((7, 14), (7, 7))
    config.model.window_size = config.model.grid_size = None
    assert task.build_model(10).window_size == (7, 14)  # a 32nd of each side


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("data.image_size", "0"),
        *itertools.product(
            ("data.image_size", "model.window_size", "model.grid_size"),
            ("abc", "-3", "(1,2,3)", "3.5", "True", "(7,0)"),
        ),
    ],
)
def test_wrong_sizes_on_the_command_line(field, text, monkeypatch):
    monkeypatch.chdir(ROOT)
    config = parse(FOLDER, f"--config.{field}={text}")

    def check():
        configs.validate(config, TASKS["maxvit"])
        task_of(pathlib.Path("configs/maxvit"), config)

    with pytest.raises(ConfigError, match="is a positive integer or") as error:
        check()
    assert text.strip("()").replace(",", ", ") in str(error.value)
    assert "\n" not in str(error.value)
