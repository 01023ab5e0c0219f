"""Strict matching of loaded names with a model's variables."""

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest

from common.checkpoint import matching
from common.errors import ConfigError


def _target():
    def leaf(*shape, dtype=jnp.float32):
        return jax.ShapeDtypeStruct(shape, dtype)

    return {
        "params": {
            "body": {"kernel": leaf(2, 3), "bias": leaf(3, dtype=jnp.bfloat16)},
            "head": {"kernel": leaf(3, 10)},
        },
        "batch_stats": {},
    }


def _loaded():
    return {
        "params/body/kernel": np.arange(6.0).reshape(2, 3),
        "params/body/bias": np.arange(3.0),
        "params/head/kernel": np.ones((3, 10), np.float32),
    }


def test_match_fills_an_abstract_tree_and_casts():
    variables, report = matching.match(_target(), _loaded())
    report.raise_if_any()
    assert str(report) == "every name and shape fits"
    assert variables["batch_stats"] == {}
    assert variables["params"]["body"]["kernel"].dtype == np.float32
    assert variables["params"]["body"]["bias"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(variables["params"]["body"]["bias"], [0, 1, 2])


def test_match_reports_both_ways():
    loaded = _loaded()
    loaded["params/extra"] = loaded.pop("params/body/bias")
    loaded["params/head/kernel"] = np.ones((3, 5), np.float32)
    target = _target()
    variables, report = matching.match(target, loaded)
    assert report.missing == {"params/body/bias": "model bfloat16[3]"}
    assert report.unused == {"params/extra": "file float64[3]"}
    assert report.mismatched == {
        "params/head/kernel": "file float32[3,5], model float32[3,10]"
    }
    assert variables["params"]["head"]["kernel"] is target["params"]["head"]["kernel"]
    with pytest.raises(ConfigError) as caught:
        report.raise_if_any("; do this")
    for part in (
        "missing params/body/bias: model bfloat16[3];",
        "unused params/extra: file float64[3];",
        "mismatched params/head/kernel: file float32[3,5], model float32[3,10]; do thi",
    ):
        assert part in str(caught.value)


def test_report_lists_five_names_and_the_count():
    target = {"params": {f"w{i}": np.ones(2) for i in range(9)}}
    _, report = matching.match(target, {})
    assert "missing params/w0: model float64[2]" in str(report)
    assert "params/w4" in str(report)
    assert "params/w5" not in str(report)
    assert str(report).endswith("and 4 more missing")


def test_what_starts_anew_is_never_taken_from_the_file():
    loaded = _loaded() | {"params/head/gain": np.ones(3, np.float32)}
    del loaded["params/body/bias"]
    target = _target()
    for head in (np.ones((3, 5), np.float32), np.ones((3, 10), np.float32)):
        loaded["params/head/kernel"] = head
        variables, report = matching.match(
            target, loaded, reinitialize=["head/", "bias$"]
        )
        report.raise_if_any()
        assert variables["params"]["head"] == target["params"]["head"]
        assert set(report.lines()) == {
            f"replaced params/head/kernel: file float32[3,{head.shape[1]}], "
            "model float32[3,10]",
            "replaced params/body/bias: file nothing, model bfloat16[3]",
            "dropped params/head/gain: file float32[3]",
        }


def test_misfit_names_the_part_that_differs():
    def misfit(**shapes):
        loaded = _loaded()
        for name, shape in shapes.items():
            loaded[f"params/{name.replace('__', '/')}"] = np.ones(shape, np.float32)
        return matching.match(_target(), loaded)[1].misfit()

    assert misfit() == ""
    assert misfit(head__kernel=(3, 5)) == "params/head"
    assert misfit(body__kernel=(3, 5), body__bias=(5,)) == "params/body"
    # Another model, not another part.
    assert misfit(body__kernel=(3, 5), head__kernel=(3, 5)) == ""
    assert misfit(head__kernel=(3, 5), neck=(2,)) == ""


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_values_that_are_not_finite_are_named(value, dtype):
    arrays = {"a": np.ones(2, dtype), "b": np.array([[1, value, 3]], dtype)}
    with pytest.raises(ConfigError, match=r"w\.npz: b .*\[1,3\] .*\(1 of 3\)"):
        matching.check_finite("w.npz", arrays)
    matching.check_finite("w.npz", {"a": arrays["a"], "n": np.arange(3)})


def test_nest_undoes_leaves():
    tree = {"params": {"a": {"b": 1}, "c": 2}, "d": 3}
    assert matching.nest(dict(matching.leaves(tree))) == tree


@pytest.mark.parametrize("names", [("p/a", "p/a/b"), ("p/a/b", "p/a"), ("p", "p/a/b")])
def test_an_array_inside_of_an_array_is_refused(names):
    with pytest.raises(ConfigError, match=f"^{names[1]}: a part of .* an array too$"):
        matching.nest(dict.fromkeys(names, np.ones(3)))


def test_arrays_are_never_reshaped():
    loaded = _loaded() | {"params/body/kernel": np.arange(6.0).reshape(1, 1, 2, 3)}
    report = matching.match(_target(), loaded)[1]
    assert list(report.mismatched) == ["params/body/kernel"]


def test_numbers_of_another_kind_do_not_match():
    loaded = _loaded() | {"params/body/bias": np.arange(3)}
    assert list(matching.match(_target(), loaded)[1].mismatched) == ["params/body/bias"]


def test_unused_or_invalid_pattern_is_an_error():
    with pytest.raises(ConfigError, match="'haed' fits no name; closest: head"):
        matching.match(_target(), _loaded(), reinitialize=["haed"])
    with pytest.raises(ConfigError, match="invalid"):
        matching.match(_target(), _loaded(), reinitialize=["("])
