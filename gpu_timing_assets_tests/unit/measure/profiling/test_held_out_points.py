"""The error of a kernel's fit is judged on grid points that the fit was made without."""

from pathlib import Path

import pytest

from gpu_timing_assets.core.bundle import bundle_tables
from gpu_timing_assets.core.tables.schemas import ALL_REDUCE, ATTENTION, MLP
from gpu_timing_assets.core.tables.table import Table
from gpu_timing_assets.measure.profiling.quality import judge_bundle
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    engine_params,
    target_config,
    write_bundle,
)


@pytest.mark.parametrize(
    ("table", "kernel", "point"),
    [
        (MLP, "mlp_up_proj", {"num_tokens": 32}),
        (ATTENTION, "attn_decode", {"prefill_chunk_size": 0, "kv_cache_size": 128}),
        (ATTENTION, "attn_prefill", {"prefill_chunk_size": 32}),
        (ALL_REDUCE, "all_reduce", {"num_tokens": 8}),
    ],
)
def test_a_point_twice_as_slow_as_its_neighbours_say_is_off_by_half(
    tmp_path: Path, table: Table, kernel: str, point: dict[str, int]
) -> None:
    config = target_config(tmp_path, "backend.tensor_parallel_size=2")
    params = engine_params(config)
    root = write_bundle(tmp_path / "bundle", config, params)
    directory = bundle_tables(root, config.hardware.name, config.model.name, 2)[table]
    frame = table.read(directory)
    at_point = (frame[list(point)] == list(point.values())).all(axis=1)
    times = [name for name in frame.columns if name.startswith("time_stats.")]
    frame.loc[at_point, times] *= 2
    table.write(frame, directory)
    found = judge_bundle(config, params, root).fitted_error_pct[kernel]
    # a fit that had the point would be off by nothing; prefill is not quite straight in its chunks
    assert found.max == pytest.approx(50.0, abs=1.0)
