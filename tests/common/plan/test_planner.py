"""Plans of the toy task on the session's eight devices, against sums by hand."""

import dataclasses
import json
import math

import pytest

from common.errors import ConfigError
from common.plan import command, planner, report, roofline
from common.plan.chips import CHIPS
from tests.common import launching, toy

BATCH = 64


def make(**overrides):
    config = toy.get_config(**overrides)
    return planner.make(toy.Toy(config), config, devices=8)


@pytest.fixture(scope="module")
def whole():
    return make(mesh__data=8)


@pytest.fixture(scope="module")
def compiled():
    """What the fixture `split` leaves here."""
    return []


@pytest.fixture(scope="module")
def split(compiled):
    compile_step = planner._compile

    def record(experiment):
        program, step = compile_step(experiment)
        compiled.append(step)
        return program, step

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(planner, "_compile", record)
        return make(mesh__data=4, mesh__fsdp=2, mesh__fsdp_min_size=1000)


# hidden [64, 32] + 32, norm 2 x 32, out [32, 10] + 10; batch norm keeps 2 x 32.
PARAMETERS = 64 * 32 + 32 + 2 * 32 + 32 * 10 + 10
KERNEL = 64 * 32  # the only array of at least 1000 elements


def total(plan, kind):
    return sum(c.bytes * c.times for c in plan.program.collectives if c.kind == kind)


def test_gradients_are_summed_once(whole):
    """Parameter bytes, and little besides: batch statistics, their gradients, means."""
    assert total(whole, "all-gather") == total(whole, "reduce-scatter") == 0
    statistics = 4 * 32 * 4
    extra = total(whole, "all-reduce") - 4 * PARAMETERS
    assert 0 < extra <= statistics + 64
    assert {c.group for c in whole.program.collectives} == {tuple(range(8))}


def test_split_parameters_are_gathered(split):
    assert total(split, "all-gather") >= 4 * KERNEL
    assert {len(c.group) for c in split.program.collectives} >= {2}
    assert split.mesh == {"data": 4, "fsdp": 2}
    assert split.parameters == PARAMETERS
    assert split.parameters_per_device == PARAMETERS - KERNEL // 2


def test_arguments_are_the_sum_of_the_shards(whole, split):
    for plan, held in ((whole, PARAMETERS), (split, PARAMETERS - KERNEL // 2)):
        assert plan.memory.arguments == {
            "parameters": 4 * held,
            "optimizer": 2 * 4 * held + 4,  # two moments and a count
            "moving average": 0,
            "frozen": 0,
            "model state": 4 * 2 * 32,
            "counters": 4 * 4,
            "batch": BATCH // 8 * (8 * 8 * 3 + 4 + 4),
        }


def test_arguments_are_those_of_the_compiled_program(split, compiled):
    stats = compiled[0].memory_analysis()
    assert sum(split.memory.arguments.values()) == stats.argument_size_in_bytes


def test_costs_are_of_one_device(whole):
    """Forward, and two gradients of each product but the input's."""
    share = BATCH // 8
    hidden, out = share * 64 * 32, share * 32 * 10
    assert whole.cost.multiply_adds == 2 * hidden + 3 * out


def test_accumulation_changes_memory_and_not_the_work(whole):
    parts = make(mesh__data=8, grad_accumulation=4)
    assert parts.cost.multiply_adds == whole.cost.multiply_adds
    assert parts.memory.arguments == whole.memory.arguments
    assert {c.times for c in parts.program.collectives} == {4}


def test_intermediate_results_are_bounded(whole, split):
    for plan in (whole, split):
        assert 0 < plan.memory.fused <= plan.memory.unfused
    assert split.memory.unfused == whole.memory.unfused + 4 * KERNEL


def test_the_estimate_is_the_largest_limit(split):
    chip = CHIPS[0]
    found = roofline.estimate(split, chip)
    assert found.compute == 2 * split.cost.multiply_adds / chip.flops
    assert found.network == pytest.approx(
        sum(c.sent * c.times for c in split.program.collectives) / chip.link
    )
    assert found.step == max(found.compute, found.memory, found.network)
    assert getattr(found, found.bound) == found.step
    assert found.fits == "likely"


def test_groups_beyond_a_pod_use_the_slower_network(whole):
    chip = dataclasses.replace(CHIPS[-1], pod=8)
    inside = roofline.estimate(whole, chip).network
    outside = roofline.estimate(whole, dataclasses.replace(chip, pod=4)).network
    assert outside == pytest.approx(inside * chip.link / chip.beyond)
    unknown = dataclasses.replace(chip, pod=4, beyond=None)
    assert roofline.estimate(whole, unknown).network is None
    assert roofline.estimate(whole, unknown).bound in ("compute", "memory")


@pytest.mark.parametrize(
    ("unfused", "fits"), [(1.5, "likely"), (1.49, "perhaps"), (0, "unlikely")]
)
def test_what_fits(whole, unfused, fits):
    """Without the room that a real compiler took beyond the estimate, perhaps."""
    room = whole.memory.held + unfused * whole.memory.unfused
    chip = dataclasses.replace(CHIPS[0], memory=room)
    assert roofline.estimate(whole, chip).fits == fits


def test_the_report_names_everything(split, tmp_path):
    text = report.text(split)
    for word in (
        "8 devices: data 4, fsdp 2; batch 64 in float32, 8 examples on each",
        f"parameters: {PARAMETERS:,}, {PARAMETERS - KERNEL // 2:,} on each",
        "exact", "estimate", "all-gather", "TPU v5e", "H200", "bound", "fits",
    ):  # fmt: skip
        assert word in text
    assert max(map(len, text.splitlines())) <= 88
    slower = "float32 is slower"
    assert slower in " ".join(text.split())
    rough = report.text(dataclasses.replace(split, dtype="bfloat16"))
    assert slower not in " ".join(rough.split())
    values = json.loads(json.dumps(report.as_json(split)))
    assert values["program"]["collectives"]["all-gather"]["bytes"] >= 4 * KERNEL
    assert len(values["estimates"]) == len(CHIPS)


def test_more_devices_than_there_are(tmp_path):
    """In a process of its own, since the devices are made before the first use."""
    code, out, err = launching.run(
        *launching.toy(tmp_path / "run", batch_size=96),
        "--mode=plan",
        "--devices=12",
        "--mesh=data:3,fsdp:4",
        "--config.mesh.fsdp_min_size=1000",
        "--config.data.source=folder",  # and there is none
    )
    assert code == 0, err
    assert "12 devices: data 3, fsdp 4" in out
    written = json.loads((tmp_path / "run" / "plan.json").read_text())
    assert written["mesh"] == {"data": 3, "fsdp": 4}
    assert math.prod(written["mesh"].values()) == 12
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["plan.json"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data:64", "makes 64 devices (data 64 x fsdp 1), --devices is 256"),
        ("fsdp:4", "makes 4 devices (data 1 x fsdp 4), --devices is 256"),
        ("data:64,fsdp:8", "makes 512 devices"),
        ("data:64,fdsp:4", "unknown axis 'fdsp'; did you mean 'fsdp'?"),
        ("data:64,fsdp", "give every axis once with its size"),
        ("data:64,fsdp:four", "give every axis once with its size"),
        ("data:64,fsdp:-4", "give every axis once with its size"),
        ("data:64,fsdp:0", "give every axis once with its size"),
        ("data:64,data:4", "give every axis once with its size"),
        ("64x4", "give every axis once with its size"),
        ("", "give every axis once with its size"),
    ],
)
def test_wrong_meshes(text, message):
    with pytest.raises(ConfigError) as error:
        command.parse_mesh(text, 256)
    assert f"--mesh={text}" in str(error.value)
    assert message in str(error.value)


def test_right_meshes():
    assert command.parse_mesh("data:64,fsdp:4", 256) == {"data": 64, "fsdp": 4}
    assert command.parse_mesh(" fsdp:4, data:2", 8) == {"data": 2, "fsdp": 4}
    assert command.parse_mesh("data:8", 8) == {"data": 8, "fsdp": 1}


def test_a_batch_that_does_not_spread():
    with pytest.raises(ConfigError, match=r"batch_size=20 is not divisible by the 8"):
        make(batch_size=20)


def test_the_configs_own_mesh_must_match():
    with pytest.raises(ConfigError, match=r"fsdp=3 does not match the 8 devices"):
        make(mesh__fsdp=3)
