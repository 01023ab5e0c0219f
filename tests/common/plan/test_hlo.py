"""The reader of HLO on a module with known answers, and on one that JAX makes."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from common.parallel import mesh as meshes
from common.plan import hlo
from common.plan.hlo import Collective

# Two loops (one of unknown length around one of 5 turns), a fusion, a call, branches,
# asynchronous pairs and wrappers, tuples, layouts with tiles, and every way in which
# groups are written.
MODULE = """\
HloModule jit_step, is_scheduled=true, entry_computation_layout={(f32[8]{0})->f32[8]{0}}

%add (x: f32[], y: f32[]) -> f32[] {
  %x = f32[] parameter(0)
  %y = f32[] parameter(1)
  ROOT %sum = f32[] add(%x, %y)
}

%inner_body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %p = (s32[], f32[8]{0}) parameter(0)
  %all-reduce.1 = f32[8]{0} all-reduce(%g), channel_id=1, replica_groups={{0,1},{2,3}}, to_apply=%add
  ROOT %t = (s32[], f32[8]{0}) tuple(%i, %all-reduce.1)
}

%inner_condition (p: (s32[], f32[8])) -> pred[] {
  %c = s32[] constant(5)
  ROOT %lt = pred[] compare(%i, %c), direction=LT
}

%outer_body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  ROOT %while.1 = (s32[], f32[8]{0}) while(%p), condition=%inner_condition, body=%inner_body
}

%outer_condition (p: (s32[], f32[8])) -> pred[] {
  %all-reduce.9 = pred[] all-reduce(%q), replica_groups={}, to_apply=%or
  ROOT %n = pred[] not(%all-reduce.9)
}

%fused (p: bf16[4,2]) -> bf16[4,8] {
  ROOT %all-gather.2 = bf16[4,8]{1,0:T(8,128)(2,1)} all-gather(%p), dimensions={1}, replica_groups=[2,4]<=[4,2]T(1,0)
}

%wrapped (p: f32[16]) -> f32[4] {
  ROOT %reduce-scatter.3 = f32[4]{0} reduce-scatter(%p), replica_groups=mesh['a'=2,'b'=4], device_ids=([2,4]) {'b'}, to_apply=%add
}

%small (p: f32[2]) -> f32[2] {
  ROOT %all-to-all.4 = (f32[1]{0}, f32[1]{0}) all-to-all(%a, %b), replica_groups={{0,4}}
}

%large (p: f32[2]) -> f32[2] {
  ROOT %all-to-all.5 = s4[6,8]{1,0} all-to-all(%a), replica_groups={{0,4}}, dimensions={0}
}

ENTRY %main (p: f32[8]) -> f32[8] {
  %p = f32[8]{0} parameter(0), metadata={op_name="all-reduce(of the past)"}
  %while.2 = (s32[], f32[8]{0}) while(%t), condition=%outer_condition, body=%outer_body
  %while.3 = (s32[], f32[8]{0}) while(%t), condition=%x, body=%inner_body, backend_config={"known_trip_count":{"n":"3"}}
  %fusion = bf16[4,8]{1,0} fusion(%q), kind=kLoop, calls=%fused
  %async-start = ((f32[16]{0}), f32[4]{0}, u32[]) async-start(%r), calls=%wrapped
  %async-done = f32[4]{0} async-done(%async-start)
  %all-gather-start = (f32[2]{0}, f32[8]{0}) all-gather-start(%s), replica_groups=[2,4]<=[8], dimensions={0}
  %all-gather-done = f32[8]{0} all-gather-done(%all-gather-start)
  %all-reduce-start = (f32[8]{0}, /*index=1*/s32[2]{0}) all-reduce-start(%t, %u), replica_groups=mesh['a'=8] {'a'}, to_apply=%add
  %all-reduce-done = (f32[8]{0}, s32[2]{0}) all-reduce-done(%all-reduce-start)
  %collective-permute-start = (f64[3]{0}, f64[3]{0}, u32[], u32[]) collective-permute-start(%v), source_target_pairs={{0,1},{1,6},{2,3}}
  %collective-permute-done = f64[3]{0} collective-permute-done(%collective-permute-start)
  %conditional = f32[2]{0} conditional(%i, %w, %w), branch_computations={%small, %large}
  ROOT %call = f32[8]{0} call(%p), to_apply=%inner_body
}
"""  # noqa: E501

ALL = tuple(range(8))
EXPECTED = [
    Collective("all-reduce", 1, ALL),  # in the condition of the endless loop
    Collective("all-reduce", 32, (0, 1), times=5),
    Collective("all-reduce", 32, (0, 1), times=3),
    Collective("all-gather", 64, (0, 2, 4, 6)),
    Collective("reduce-scatter", 64, (0, 1, 2, 3)),
    Collective("all-gather", 32, (0, 1, 2, 3)),
    Collective("all-reduce", 40, ALL),
    Collective("collective-permute", 24, (1, 6)),
    Collective("all-to-all", 24, (0, 4)),
    Collective("all-reduce", 32, (0, 1)),
]


def test_fixed_module():
    program = hlo.parse(MODULE, devices=8)
    assert list(program.collectives) == EXPECTED
    assert program.endless == 1


@pytest.mark.parametrize(
    ("kind", "sent"),
    [
        ("all-reduce", 2 * 96),
        ("all-gather", 96),
        ("reduce-scatter", 96),
        ("all-to-all", 96),
        ("collective-permute", 128),
    ],
)
def test_bytes_sent_on_a_ring_of_four(kind, sent):
    collective = Collective(kind, 128, (1, 3, 5, 7))
    assert collective.sent == sent
    assert collective.span == 7


def test_nobody_to_send_to():
    assert Collective("all-reduce", 128, (0,)).sent == 0
    assert hlo.parse("", 1) == hlo.Program(())


def test_a_program_of_jax():
    """A gathered kernel and a summed gradient, in a loop of seven turns."""
    made = meshes.make(2, 4)
    place = lambda *axes: NamedSharding(made, P(*axes))  # noqa: E731
    w = jax.ShapeDtypeStruct((64, 32), jnp.float32, sharding=place("fsdp"))
    x = jax.ShapeDtypeStruct((16, 64), jnp.float32, sharding=place(("data", "fsdp")))

    def step(w, x):
        def turn(w, _):
            return w - jax.grad(lambda w: jnp.tanh(x @ w).sum())(w), None

        return jax.lax.scan(turn, w, None, length=7)[0]

    compiled = jax.jit(step, out_shardings=w.sharding).lower(w, x).compile()
    program = hlo.parse(compiled.as_text(), devices=8)
    assert program.endless == 0
    assert {c.times for c in program.collectives} == {7}
    (gather,) = [c for c in program.collectives if c.kind == "all-gather"]
    assert (gather.bytes, gather.group) == (64 * 32 * 4, (0, 1, 2, 3))
    # The gradient, whole or already split over fsdp.
    summed = sum(c.bytes for c in program.collectives if c.kind == "all-reduce")
    assert summed >= 64 * 32 * 4 // 4
