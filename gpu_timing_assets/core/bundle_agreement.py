"""What a profiling bundle says in more than one place it must say alike: its metadata, the settings
of the engine, and the rows of its tables.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from gpu_timing_assets.core.bundle import (
    BUNDLE_META_FILE,
    ENGINE_FILE,
    BundleMeta,
    Frames,
    bundle_tables,
)
from gpu_timing_assets.core.engine_params import EngineParams
from gpu_timing_assets.core.errors import ArtifactError
from gpu_timing_assets.core.files import Metadata
from gpu_timing_assets.core.run import RUN_META_FILE, ProfileRunMeta, read_complete_run
from gpu_timing_assets.core.tables.schemas import (
    ALL_REDUCE,
    ATTENTION,
    BURST_REQUESTS,
    BURST_STEPS,
    BURST_TOKENS,
    HEAD,
    LAYER_OPERATORS,
    MLP,
)
from gpu_timing_assets.core.tables.table import Table, refuse_row

# what is simulated of the engine
KNOWN = {
    "graph_mode": ("NONE", "FULL", "FULL_DECODE_ONLY", "FULL_AND_PIECEWISE", "PIECEWISE"),
    "scheduling_policy": ("FCFS",),
}
# the engine's median step on the GPU, in times of what its layers take on their fewest tokens: 1 to
# 3 on a GPU, some tens on a CPU. A wrong unit is a factor of 1,000
PLAUSIBLE_STEP = (0.05, 500.0)


def check_agreement(root: Path, meta: BundleMeta, params: EngineParams, frames: Frames) -> None:
    """Raises `ArtifactError` naming the file (and row) that contradicts another one, and
    `UnfinishedArtifactError` where the bundle's own run did not end well.
    """
    run = read_complete_run(root, ProfileRunMeta)
    names = ("engine", "engine_version", "device_name", "tensor_parallel_size", "model_dimensions")
    _agree(root / ENGINE_FILE, params, meta, names, BUNDLE_META_FILE)
    _agree(root / RUN_META_FILE, run, meta, ("model", "hardware"), BUNDLE_META_FILE)
    settings = tuple(EngineParams.model_fields)
    _agree(root / RUN_META_FILE, run.params, params, settings, ENGINE_FILE)
    for name, known in KNOWN.items():
        if (value := getattr(params, name)).upper() not in known:
            expected = ", ".join(known).lower()
            raise ArtifactError(f"{root / ENGINE_FILE}: {name} {value!r} is none of {expected}")
    folders = bundle_tables(root, meta.hardware, meta.model, meta.tensor_parallel_size)
    paths = {table: table.find(folders[table]) for table in frames}
    for table, column, value in _columns_of_target(params):
        if table in frames:
            wrong = (frames[table][column] != value).to_numpy()
            refuse_row(paths[table], wrong, f"{column} is not {value}, as in {ENGINE_FILE}")
    _check_grid(paths, meta, params, frames)
    _check_bursts(paths, frames)
    _check_unit(paths[BURST_STEPS], params, frames)


def _agree(
    path: Path, ours: Metadata, theirs: Metadata, names: tuple[str, ...], other_file: str
) -> None:
    for name in names:
        found, expected = getattr(ours, name), getattr(theirs, name)
        if found != expected:
            raise ArtifactError(f"{path}: {name} is {found!r}, in {other_file} {expected!r}")


def _columns_of_target(params: EngineParams) -> Iterator[tuple[Table, str, int]]:
    """What every row of a table holds, because it was measured of this model and engine."""
    model, devices = params.model_dimensions, params.tensor_parallel_size
    for table in (MLP, ATTENTION, ALL_REDUCE):
        yield table, "num_tensor_parallel_workers", devices
    for table, heads in ((MLP, "n_head"), (ATTENTION, "n_q_head")):
        yield table, "n_embd", model.hidden_size
        yield table, heads, model.num_attention_heads
        yield table, "n_kv_head", model.num_key_value_heads
    yield MLP, "n_expanded_embd", model.intermediate_size
    yield MLP, "vocab_size", model.vocab_size
    yield ATTENTION, "block_size", params.kv_block_size


def _check_grid(
    paths: Mapping[Table, Path], meta: BundleMeta, params: EngineParams, frames: Frames
) -> None:
    """A grid that was cut is still a grid: between its points is interpolated."""
    attention = frames[ATTENTION]
    prefill = attention["prefill_chunk_size"] > 0
    points = [
        (MLP, "numbers of tokens", frames[MLP]["num_tokens"]),
        (ATTENTION, "prefills", attention[prefill]["prefill_chunk_size"]),
        (ATTENTION, "contexts of decodes", attention[~prefill]["kv_cache_size"]),
    ]
    if params.max_num_seqs > 1:
        points.append((HEAD, "numbers of requests", frames[HEAD]["num_requests"]))
    for table, what, values in points:
        if values.nunique() < 2:
            raise ArtifactError(f"{paths[table]}: fewer than two {what}: rows are missing")
    largest = int(frames[MLP]["num_tokens"].max())
    if largest < meta.max_num_tokens:
        expected = f"{BUNDLE_META_FILE} says {meta.max_num_tokens}"
        raise ArtifactError(f"{paths[MLP]}: it ends at {largest} tokens, {expected}")


def _check_bursts(paths: Mapping[Table, Path], frames: Frames) -> None:
    """The tables of the bursts tell of the same events at the same times."""
    steps, requests = frames[BURST_STEPS], frames[BURST_REQUESTS]
    for ours, theirs in (
        ("first_schedule_begin_ns", "schedule_begin_ns"),
        ("first_update_end_ns", "update_end_ns"),
    ):
        known = pd.MultiIndex.from_frame(steps[["burst", theirs]])
        found = pd.MultiIndex.from_frame(requests[["burst", ours]]).isin(known)
        why = f"{ours} is no {theirs} of its burst in {BURST_STEPS.file}"
        refuse_row(paths[BURST_REQUESTS], ~found, why)
    _check_all_was_computed(paths[BURST_STEPS], steps, requests)
    _check_contexts(paths[BURST_STEPS], steps)
    if BURST_TOKENS in frames:
        tokens = frames[BURST_TOKENS]
        key = ["burst", "request_id"]
        first = tokens.merge(requests[[*key, "first_token_ns"]], on=key, how="left")
        wrong = (first["client_ns"] != first["first_token_ns"]) & (first["token_index"] == 0)
        why = f"client_ns is not its first_token_ns in {BURST_REQUESTS.file}"
        refuse_row(paths[BURST_TOKENS], wrong.to_numpy(), why)


def _check_all_was_computed(path: Path, steps: pd.DataFrame, requests: pd.DataFrame) -> None:
    """A burst's steps compute its requests' prompts and all output tokens but each first one;
    more where a request was preempted.
    """
    asked = requests.assign(num_decode_requests=requests["num_decode_tokens"] - 1)
    for column, what in (
        ("num_prefill_tokens", "prompt tokens"),
        ("num_decode_requests", "tokens after the first"),
    ):
        of_requests = asked.groupby("burst")[column].sum()
        of_steps = steps.groupby("burst")[column].sum().reindex(of_requests.index, fill_value=0)
        for burst in of_requests.index[of_steps < of_requests]:
            raise ArtifactError(
                f"{path}: the steps of burst {burst} compute {of_steps[burst]} {what}, its "
                f"requests in {BURST_REQUESTS.file} have {of_requests[burst]}: rows are missing"
            )


def _check_contexts(path: Path, steps: pd.DataFrame) -> None:
    """From one step of decodes alone to the next of as many, each context grows by a token."""
    counted = ["num_prefill_tokens", "num_decode_requests", "kv_tokens"]
    before = steps.groupby("burst")[counted].shift()
    decodes = steps["num_decode_requests"]
    alike = (
        (steps["num_prefill_tokens"] == 0)
        & (before["num_prefill_tokens"] == 0)
        & (before["num_decode_requests"] == decodes)
    )
    wrong = alike & (steps["kv_tokens"] - before["kv_tokens"] != decodes)
    why = "kv_tokens does not grow by a token for each decode since the step before"
    refuse_row(path, wrong.to_numpy(), why)


def _check_unit(path: Path, params: EngineParams, frames: Frames) -> None:
    steps, kernels = frames[BURST_STEPS], frames[MLP].sort_values("num_tokens").iloc[0]
    medians = [f"time_stats.{name}.median" for name in LAYER_OPERATORS]
    layers_ns = 1e6 * params.model_dimensions.num_hidden_layers * float(kernels[medians].sum())
    step_ns = float((steps["gpu_end_ns"] - steps["gpu_begin_ns"]).median())
    least, most = PLAUSIBLE_STEP
    if not least <= step_ns / layers_ns <= most:
        raise ArtifactError(
            f"{path}: a step takes {step_ns / 1e6:.3g} ms, the kernels of its layers in {MLP.file} "
            f"{layers_ns / 1e6:.3g} ms: one of them is in another unit or of another model"
        )
