"""A host that was faster or slower than when it was profiled shows, and nothing else does."""

import pandas as pd
import pytest

from gpu_timing_assets.compare.explain.host_speed import MIN_STEPS, host_note, host_speed
from gpu_timing_assets.compare.gate.align import align
from gpu_timing_assets.compare.gate.load import Run
from gpu_timing_assets_tests.unit.compare.synthetic_runs import MS, run_in_memory, served

US = 1000


def steps(
    count: int, schedule_us: float, per_request_us: float = 10, requests: int = 4, prefills: int = 0
) -> pd.DataFrame:
    begin = pd.Series(range(count)) * 5 * MS
    took_ns = round((schedule_us + per_request_us * requests) * US)
    return pd.DataFrame(
        {
            "step": range(count),
            "schedule_begin_ns": begin,
            "schedule_end_ns": begin + took_ns,
            "result_ns": begin + 4 * MS,
            "num_prefill_tokens": 64 * prefills,
            "num_prefill_requests": prefills,
            "num_decode_requests": requests - prefills,
            "kv_tokens": 64,
            "graph_mode": "full",
        }
    )


def run(label: str, recorded: pd.DataFrame | None, run_type: str = "real") -> Run:
    made = run_in_memory(label, *served(), run_type=run_type)
    return Run(made.label, made.directory, made.meta, made.requests, made.tokens, recorded, None)


def compared(*real: pd.DataFrame | None, simulated: pd.DataFrame | None) -> pd.DataFrame:
    aligned = align(
        [run(f"real-{k}", recorded) for k, recorded in enumerate(real)],
        [run("engine_loop", simulated, "simulated")],
    )
    return host_speed(aligned, "engine_loop")


def test_the_ratio_is_that_of_the_times_to_schedule_a_step() -> None:
    table = compared(steps(100, 60), steps(100, 160), simulated=steps(50, 60))
    assert table["host_time_ratio"].tolist() == pytest.approx([1.0, 2.0])
    assert (table["real_us"].tolist(), table["profiled_us"].tolist()) == (
        pytest.approx([100, 200]),
        pytest.approx([100, 100]),
    )
    assert table["steps"].tolist() == [100, 100]


def test_steps_are_held_against_steps_of_their_size_and_kind() -> None:
    profiled = pd.concat(
        [
            steps(50, 60, requests=2),
            steps(50, 60, requests=64),
            steps(50, 360, requests=2, prefills=1),
        ]
    )
    larger = compared(
        pd.concat([steps(10, 60, requests=2), steps(90, 60, requests=64)]), simulated=profiled
    )
    prefills = compared(steps(100, 360, requests=2, prefills=1), simulated=profiled)
    assert [*larger["host_time_ratio"], *prefills["host_time_ratio"]] == pytest.approx([1.0, 1.0])


def test_sizes_that_the_simulation_does_not_have_are_left_out() -> None:
    mixed = pd.concat([steps(40, 60), steps(500, 60, requests=200)])
    assert compared(mixed, simulated=steps(50, 60))["steps"].tolist() == [40]
    assert compared(steps(100, 60, requests=200), simulated=steps(50, 60)).empty


@pytest.mark.parametrize(
    ("real", "simulated"),
    [
        (None, steps(50, 60)),  # not recorded
        (steps(50, 60), None),
        (steps(50, 60), steps(50, 0, 0)),  # a simulation without a host
        (steps(MIN_STEPS - 1, 60), steps(50, 60)),
    ],
)
def test_what_cannot_be_known_is_not_said(real, simulated) -> None:
    table = compared(real, simulated=simulated)
    assert table.empty
    assert host_note(table) is None


@pytest.mark.parametrize(
    ("ratios", "says"),
    [
        ([1.0, 0.9], None),
        ([1.14], None),
        ([1.3], "1.30 times as long"),
        ([0.62, 1.02], "0.62 to 1.02 times as long"),
    ],
)
def test_only_a_noticeable_difference_makes_a_note(ratios, says) -> None:
    note = host_note(pd.DataFrame({"host_time_ratio": ratios}))
    assert note is None if says is None else says in str(note)
