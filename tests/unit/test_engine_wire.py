import dataclasses
import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.engine.wire import KINDS, MAX_SPANS, CorruptionArgs, from_xargs


@st.composite
def arguments(draw: st.DrawFn) -> CorruptionArgs:
    prompt_tokens = draw(st.integers(2, 500))
    bounds = sorted(draw(st.sets(st.integers(0, prompt_tokens), min_size=2, max_size=20)))
    return CorruptionArgs(
        kind=draw(st.sampled_from(KINDS)),
        strength=draw(st.floats(0, 1e6)),
        dimensions=draw(st.integers(0, 8192)),
        seed=draw(st.integers(0, 2**63 - 1)),
        spans=tuple(bounds[: len(bounds) // 2 * 2]),
        prompt_tokens=prompt_tokens,
    )


ARGS = CorruptionArgs("gaussian-first", 1.5, 0, 7, (2, 4, 6, 9), 12)


@given(arguments())
def test_survives_the_wire(args: CorruptionArgs) -> None:
    on_the_wire = json.loads(json.dumps({"someone_elses": 1, **args.to_xargs()}))
    assert from_xargs(on_the_wire) == args


@given(arguments())
def test_values_are_flat(args: CorruptionArgs) -> None:
    for value in args.to_xargs().values():
        assert isinstance(value, str | int | float) or all(isinstance(item, int) for item in value)


@given(arguments(), arguments())
def test_canonical_bytes_are_equal_exactly_when_the_arguments_are(left: CorruptionArgs, right: CorruptionArgs) -> None:
    assert (left.canonical() == right.canonical()) == (left == right)


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "reverse"},
        {"strength": 1.25},
        {"dimensions": 1},
        {"seed": 8},
        {"spans": (2, 4, 6, 8)},
        {"prompt_tokens": 13},
    ],
)
def test_every_argument_is_in_the_canonical_bytes(change: dict[str, object]) -> None:
    assert dataclasses.replace(ARGS, **change).canonical() != ARGS.canonical()


def test_whole_and_broken_numbers_are_one_strength() -> None:
    assert from_xargs({**ARGS.to_xargs(), "unremember_strength": 2}) == dataclasses.replace(ARGS, strength=2.0)


@pytest.mark.parametrize("xargs", [{}, {"other": 1}, {"unrememberable": 3}])
def test_a_request_that_does_not_ask(xargs: dict[str, object]) -> None:
    assert from_xargs(xargs) is None


@pytest.mark.parametrize("key", sorted(ARGS.to_xargs()))
def test_every_argument_is_required(key: str) -> None:
    xargs = ARGS.to_xargs()
    del xargs[key]
    with pytest.raises(ValueError, match=f"{key} is missing"):
        from_xargs(xargs)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("kind", "none-such"),
        ("kind", 3),
        ("strength", -0.1),
        ("strength", float("nan")),
        ("strength", float("inf")),
        ("strength", 1e7),
        ("strength", "1"),
        ("strength", True),
        ("dimensions", -1),
        ("dimensions", 1.0),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", True),
        ("prompt_tokens", 0),
        ("prompt_tokens", "12"),
        ("spans", []),
        ("spans", [2]),
        ("spans", [4, 4]),
        ("spans", [4, 2]),
        ("spans", [2, 6, 4, 8]),
        ("spans", [-1, 2]),
        ("spans", [2, 13]),
        ("spans", [2.0, 4.0]),
        ("spans", ["2", "4"]),
        ("spans", "2,4"),
    ],
)
def test_wrong_values_are_refused_and_named(key: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"^unremember_{key} "):
        from_xargs({**ARGS.to_xargs(), f"unremember_{key}": value})


def test_too_many_spans() -> None:
    spans = tuple(range(2 * MAX_SPANS + 2))
    with pytest.raises(ValueError, match=r"^unremember_spans "):
        dataclasses.replace(ARGS, spans=spans, prompt_tokens=len(spans))


def test_unknown_keys_of_ours_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown argument unremember_forbid"):
        from_xargs({**ARGS.to_xargs(), "unremember_forbid": "x"})


def test_importing_needs_neither_vllm_nor_torch() -> None:
    code = "import sys, guards.engine, guards.act.corruption; print([m for m in ('torch', 'vllm') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
