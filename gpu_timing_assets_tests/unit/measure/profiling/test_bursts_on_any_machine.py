"""Bursts yield what the fits need on engines of very different speed, and are played again or
refused where they do not.
"""

import asyncio
from pathlib import Path

import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.errors import ProfilingBundleError
from gpu_timing_assets.core.tables.schemas import BURST_REQUESTS, BURST_STEPS
from gpu_timing_assets.engine_loop.fit.durations import step_durations
from gpu_timing_assets.engine_loop.fit.fit_time import MIN_ROWS
from gpu_timing_assets.engine_loop.fit.rows import fit_rows
from gpu_timing_assets.measure.profiling import burst_process
from gpu_timing_assets.measure.profiling.burst_process import BurstRecorder, play_all
from gpu_timing_assets_tests.unit.measure.profiling.formula_engine import FormulaEngine
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params

SMALL = (
    *(
        "profiling.burst_decode_batch_sizes=[1,2,4]",
        "profiling.burst_context_tokens=[16]",
        "profiling.burst_decode_tokens=8",
    ),
    *(
        "profiling.burst_background_sizes=[0,2]",
        "profiling.burst_prefill_tokens=[8,16,32,48,64]",
        "profiling.burst_repeats=2",
    ),
    *(
        "profiling.storm_rates_per_s=[40]",
        "profiling.storm_requests=8",
        "backend.warmup_requests=2",
        "backend.warmup_prefill_tokens=16",
        "backend.probe_host=false",
    ),
)


@pytest.fixture(scope="module")
def config() -> ExperimentConfig:
    return compose(["hardware=cpu", *SMALL])


def engine(
    config: ExperimentConfig, scratch: Path, step_ms: float, token_ms: float
) -> FormulaEngine:
    limits = {
        # the answers of a storm are as long as a quarter of it
        "max_model_len": 160,
        "num_kv_blocks": 1000,
        "graph_mode": "NONE",
        "graph_capture_sizes": (),
    }
    return FormulaEngine(
        engine_params(config, async_scheduling=False, **limits), scratch, step_ms, token_ms
    )


def played(
    config: ExperimentConfig, scratch: Path, step_ms: float, token_ms: float
) -> tuple[pd.DataFrame, pd.DataFrame, list[str]]:
    reports: list[str] = []

    async def play() -> BurstRecorder:
        recorder = BurstRecorder(engine(config, scratch, step_ms, token_ms), config, reports.append)
        await play_all(recorder, config)
        return recorder

    asyncio.run(play()).write_tables(scratch, seed=0)
    return BURST_STEPS.read(scratch), BURST_REQUESTS.read(scratch), reports


# a prompt of 64 tokens takes 2 or 165 ms, a step 1 or 7: longer than any pause between requests
@pytest.mark.parametrize(("step_ms", "token_ms"), [(1.0, 0.02), (5.0, 2.5)])
def test_a_slow_engine_gives_as_many_rows_as_a_quick_one(
    config, tmp_path, step_ms, token_ms
) -> None:
    steps, requests, reports = played(config, tmp_path, step_ms, token_ms)
    params = engine(config, tmp_path, step_ms, token_ms).params
    for name, found in fit_rows(step_durations(steps, params), requests).items():
        assert len(found.rows) >= MIN_ROWS, name
    idle = requests[requests["kind"] == "idle"]
    assert (idle["num_in_flight"] == 0).all()
    injected = requests[(requests["kind"] == "inject") & (requests["num_decode_tokens"] == 3)]
    assert (injected["num_in_flight"] >= 1).all()
    assert not [line for line in reports if "again" in line]


def test_a_kind_that_gives_too_few_rows_is_played_again_and_then_refused_with_what_is_missing(
    config, tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr(
        burst_process, "MIN_ROWS", 24
    )  # 12 in the first repeat, where an idle burst has 5 prompts
    few = config.model_copy(
        update={
            "profiling": config.profiling.model_copy(update={"burst_prefill_tokens": (8, 16, 32)})
        }
    )
    with pytest.raises(
        ProfilingBundleError,
        match=r"kind idle .* 9 requests to an idle engine, 12 are needed.*doctor",
    ) as refused:
        played(few, tmp_path, 1.0, 0.02)
    assert "played 3 times" in str(refused.value)
    assert not list(tmp_path.glob("burst_*.csv"))


def test_a_kind_that_is_played_again_gives_what_was_missing(config, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(burst_process, "MIN_ROWS", 14)
    _, requests, reports = played(config, tmp_path, 1.0, 0.02)
    assert [
        line
        for line in reports
        if "bursts of kind idle are played again: 5 requests to an idle engine, 7 are needed"
        in line
    ]
    assert (requests["kind"] == "idle").sum() >= 14
