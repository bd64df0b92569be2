"""The probe of the host's speed: what it plays, what it finds, and when it says that it cannot."""

import asyncio
import time
from pathlib import Path

import pandas as pd
import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.core.host_probe import HostProbe, HostTimes, host_ratio
from gpu_timing_assets.core.tables.schemas import OBSERVED
from gpu_timing_assets.engines.host_probe import host_probe, probe_host
from gpu_timing_assets.engines.null.engine import NullEngine
from gpu_timing_assets_tests.unit.measure.profiling.formula_engine import FormulaEngine
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params, target_config

MS = 1_000_000


def steps(
    decodes: int, prompt_tokens: int, parts_ms: tuple[float, ...], count: int
) -> pd.DataFrame:
    """`count` steps of which schedule, execute, sample and update take so long, one after another
    on a clock that is not at 0.
    """
    row = {
        "num_decode_requests": decodes,
        "num_prefill_requests": int(prompt_tokens > 0),
        "num_prefill_tokens": prompt_tokens,
        **dict.fromkeys(OBSERVED, 0),
    }
    now_ns = 70 * MS
    for part, ms in zip(("schedule", "execute", "sample", "update"), parts_ms, strict=True):
        row |= {f"{part}_begin_ns": now_ns, f"{part}_end_ns": now_ns + round(ms * MS)}
        # what passes between two parts is none's
        now_ns += round(ms * MS) + 5 * MS
    return pd.DataFrame([row] * count)


def observed(mixed: int = 9) -> pd.DataFrame:
    return pd.concat(
        [
            steps(1, 0, (0.1, 1.0, 0.3, 0.1), 20),
            steps(8, 0, (0.2, 1.5, 0.3, 0.2), 30),
            steps(8, 256, (0.3, 10.0, 0.4, 0.3), mixed),
        ]
    )


def test_the_hosts_time_of_a_step_is_that_of_its_own_parts() -> None:
    found = host_probe(observed())
    assert found.decode_1_ms == pytest.approx(1.5)
    assert found.decode_8_ms == pytest.approx(2.2)
    assert found.mixed_ms == pytest.approx(11.0)
    assert found.num_mixed_steps == 9


def test_too_few_steps_are_refused_with_a_remedy() -> None:
    with pytest.raises(EngineError, match=r"2 for mixed_ms; 5 are needed.*probe_host=false"):
        host_probe(observed(mixed=2))


def test_the_ratio_is_that_of_the_probes_mean() -> None:
    profiled = HostTimes(decode_1_ms=1, decode_8_ms=2, mixed_ms=10)
    slow = HostProbe(decode_1_ms=1.3, decode_8_ms=2.6, mixed_ms=13, num_mixed_steps=9)
    quick = HostProbe(decode_1_ms=1.1, decode_8_ms=2.2, mixed_ms=11, num_mixed_steps=9)
    assert host_ratio([slow, quick], profiled) == pytest.approx(1.2)
    assert host_ratio([profiled], profiled) == pytest.approx(1.0)


def probe_formula_engine(tmp_path: Path, probe_s: float) -> HostProbe | None:
    tmp_path.mkdir(exist_ok=True)
    config = target_config(tmp_path)
    params = engine_params(config, max_model_len=2048, num_kv_blocks=1000)
    engine = FormulaEngine(params, tmp_path, step_ms=1.0, token_ms=0.02)
    backend = config.backend.model_copy(update={"probe_s": probe_s})
    return asyncio.run(probe_host(engine, "probe0", backend, observe_on=False))


def test_an_engine_that_records_its_steps_is_probed(tmp_path) -> None:
    found = probe_formula_engine(tmp_path, probe_s=0)
    assert found is not None
    # a step of 256 prompt tokens takes 6 ms by the formula, of one token 1 ms
    assert found.decode_1_ms >= 1.0
    assert found.mixed_ms > found.decode_8_ms
    assert found.num_mixed_steps >= 5


def test_the_probe_goes_on_for_as_long_as_is_asked(tmp_path) -> None:
    begin = time.monotonic()
    short = probe_formula_engine(tmp_path / "short", probe_s=0)
    rounds_s = time.monotonic() - begin
    long = probe_formula_engine(tmp_path / "long", probe_s=3 * rounds_s)
    assert short is not None
    assert long is not None
    assert long.num_mixed_steps >= 2 * short.num_mixed_steps


def test_one_that_records_none_is_not(tmp_path) -> None:
    engine = NullEngine(compose(["backend=null_engine"]), tmp_path, "a CPU")
    backend = compose(["backend=null_engine"]).backend
    assert asyncio.run(probe_host(engine, "probe0", backend, observe_on=False)) is None
