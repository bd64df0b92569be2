"""Which runs of a data root belong together."""

from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.core.data_root import DataRoot
from gpu_timing_assets.core.engine_params import EngineParams, ModelDimensions
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    Lateness,
    Percentiles,
    RealRunMeta,
    SimRunMeta,
    read_complete_run,
)
from gpu_timing_assets.core.store import Store
from gpu_timing_assets.core.target import Target
from gpu_timing_assets.core.workload import WORKLOAD_META_FILE, TokenizerMeta, WorkloadMeta

WORK = ("chat", Target("tiny", "h100", "vllm"))
NOTHING = Percentiles(p50=0, p90=0, p99=0)
PARAMS = EngineParams(
    engine="vllm",
    engine_version="0.26.0",
    device_name="H100",
    model_dimensions=ModelDimensions(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        vocab_size=1000,
        tie_word_embeddings=True,
        max_position_embeddings=4096,
    ),
    dtype="bfloat16",
    max_model_len=4096,
    max_num_seqs=64,
    max_num_batched_tokens=2048,
    enable_chunked_prefill=True,
    async_scheduling=True,
    enable_prefix_caching=False,
    num_kv_blocks=100,
    kv_block_size=16,
    attention_backend="FLASH_ATTN",
    graph_mode="NONE",
)
COMMON: dict[str, Any] = {
    "model": "tiny",
    "hardware": "h100",
    "backend": "vllm",
    "workload_id": "chat",
    "workload_sha256": "0",
    "started_at": "2026-01-01T00:00:00Z",
    "ended_at": "2026-01-01T00:01:00Z",
    "params": PARAMS,
    "num_tokens": 1,
}


@pytest.fixture
def data(tmp_path: Path) -> DataRoot:
    root = DataRoot(tmp_path)
    directory = root.workload_dir("chat")
    directory.mkdir(parents=True)
    meta = WorkloadMeta(
        workload_id="chat",
        workload_sha256="0",
        num_requests=1,
        num_prefill_tokens=1,
        num_decode_tokens=1,
        longest_request_tokens=2,
        duration_ns=0,
        mean_rate_per_s=None,
        seed=0,
        tokenizer=TokenizerMeta(name="t", sha256="1", base_vocab_size=10),
        source={},
        config_sha256="2",
    )
    write_json(directory / WORKLOAD_META_FILE, meta)
    return root


def put_real(data: DataRoot, run_id: str, **changes: Any) -> None:
    meta = RealRunMeta(
        run_id=run_id,
        **{
            **COMMON,
            "session": "s",
            "repeat": 0,
            "repeats": 1,
            "early_stopping": False,
            "warmup_requests": 0,
            "engine_start_s": 1.0,
            "replay_s": 1.0,
            "client_cpu_share": 0.1,
            "ttft_ms": NOTHING,
            "itl_ms": NOTHING,
            "e2e_ms": NOTHING,
            "submission_lateness_ms": Lateness(p50=0, p90=0, p99=0, max=0),
            "num_requests": 1,
            "num_failed": 0,
            "tokens_per_s": 1.0,
            **changes,
        },
    )
    put(data.path / "real_runs" / run_id, meta)


def put_simulated(data: DataRoot, run_id: str, **changes: Any) -> None:
    values = {**COMMON, "simulator": "vidur", "wall_s": 1.0, "simulated_s": 1.0, **changes}
    put(data.path / "vidur_runs" / run_id, SimRunMeta(run_id=run_id, **values))


def put(directory: Path, meta: RealRunMeta | SimRunMeta) -> None:
    directory.mkdir(parents=True)
    write_json(directory / RUN_META_FILE, meta)


def names(directories: tuple[Path, ...]) -> list[str]:
    return [directory.name for directory in directories]


def test_complete_runs_of_the_workload_and_target_are_found_by_name(data) -> None:
    for run_id, changes in {
        "b": {},
        "a": {},
        "invalid": {"status": "invalid"},
        "older-workload": {"workload_sha256": "1"},
        "other-workload": {"workload_id": "x", "workload_sha256": "1"},
        "same-under-another-name": {"workload_id": "x"},
        "other-model": {"model": "big"},
        "other-hardware": {"hardware": "a100"},
        "other-backend": {"backend": "transformers"},
    }.items():
        put_real(data, run_id, **changes)
    (data.path / "real_runs" / "empty").mkdir()
    (data.path / "real_runs" / ".unfinished-c").mkdir()
    (data.path / "real_runs" / "broken").mkdir()
    (data.path / "real_runs" / "broken" / RUN_META_FILE).write_text("{")
    store = Store(data)
    assert names(store.real_runs_of(*WORK)) == ["a", "b"]
    assert names(store.invalid_real_runs(*WORK)) == ["invalid"]


def test_of_several_engine_configurations_the_newest_counts(data) -> None:
    older = PARAMS.model_copy(update={"max_num_seqs": 8})
    put_real(data, "old-0", params=older)
    put_real(data, "new-0", started_at="2026-01-02T00:00:00Z")
    put_real(data, "new-1", started_at="2026-01-01T12:00:00Z")
    assert names(Store(data).real_runs_of(*WORK)) == ["new-0", "new-1"]


def test_kv_blocks_and_settings_that_were_not_recorded_make_no_other_configuration(data) -> None:
    put_real(data, "older", params=PARAMS.model_copy(update={"num_kv_blocks": 99}))
    put_real(data, "newer", started_at="2026-01-02T00:00:00Z")
    assert names(Store(data).real_runs_of(*WORK)) == ["newer", "older"]


def test_simulations_are_those_of_the_workload_and_target(data) -> None:
    put_simulated(data, "loop", predictor="engine_loop")
    put_simulated(data, "batches", predictor="engine_loop", substitution="recorded_batches")
    put_simulated(data, "other-engine", predictor="engine_loop", backend="transformers")
    put_simulated(data, "older-workload", predictor="random_forest", workload_sha256="1")
    assert names(Store(data).sim_runs_of(*WORK)) == ["batches", "loop"]


def test_of_a_simulation_that_is_there_twice_the_newest_counts(data) -> None:
    put_simulated(data, "under-its-old-name", predictor="engine_loop")
    put_simulated(data, "new", predictor="engine_loop", started_at="2026-01-02T00:00:00Z")
    put_simulated(data, "other-simulator", simulator="mine", predictor="engine_loop")
    assert names(Store(data).sim_runs_of(*WORK)) == ["new", "other-simulator"]


def test_a_simulation_at_the_runs_host_speed_stands_beside_the_one_as_profiled(data) -> None:
    put_simulated(data, "as-profiled", predictor="engine_loop")
    put_simulated(data, "at-the-runs-speed", predictor="engine_loop", host_ratio=1.1)
    assert names(Store(data).sim_runs_of(*WORK)) == ["as-profiled", "at-the-runs-speed"]


def test_what_is_filed_after_the_first_look_belongs_to_the_next_store(data) -> None:
    store = Store(data)
    assert store.real_runs_of(*WORK) == store.sim_runs_of(*WORK) == ()
    put_real(data, "a")
    assert store.real_runs_of(*WORK) == ()
    assert names(Store(data).real_runs_of(*WORK)) == ["a"]


def test_a_workload_that_is_not_there_is_named(data) -> None:
    with pytest.raises(ArtifactError, match="workloads.gone has no workload_meta.json"):
        Store(data).real_runs_of("gone", WORK[1])


def killed_while_replaced(data: DataRoot, run_id: str) -> Path:
    """A run whose new version had not come when its writer was killed: see `test_directories`."""
    put_real(data, run_id)
    directory = data.real_runs / run_id
    directory.rename(data.real_runs / f".unfinished--replaced-{run_id}")
    return directory


def test_a_run_whose_replacement_was_killed_is_found(data) -> None:
    killed_while_replaced(data, "a")
    assert names(Store(data).real_runs_of(*WORK)) == ["a"]


def test_a_run_whose_replacement_was_killed_is_read(data) -> None:
    directory = killed_while_replaced(data, "a")
    assert read_complete_run(directory, RealRunMeta).run_id == "a"
