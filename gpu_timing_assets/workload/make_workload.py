"""From a preset to a workload directory that never changes again."""

from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.model_card import (
    context_limit,
    longer_context,
    read_model_dimensions,
)
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.core.tables.invariants import check_context
from gpu_timing_assets.core.workload import WorkloadMeta
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.identity import identify, reuse_workload
from gpu_timing_assets.workload.requests import Requests
from gpu_timing_assets.workload.tokenizer import load_tokenizer
from gpu_timing_assets.workload.write_workload import lengths_table, write_workload

if TYPE_CHECKING:
    from gpu_timing_assets.config.experiment import ExperimentConfig


def run(config: "ExperimentConfig", out: Path) -> WorkloadMeta:
    """Make the workload of `config.workload` in the directory `out`, or verify the one that is
    there and return it.

    Raises `WorkloadError` for prompts or traces that cannot be used, requests longer than the
    context, and a complete workload in `out` that was made from something else; `ArtifactError` for
    one whose files were changed; `BusyError` if another process is writing it. On any error `out`
    is as it was.
    """
    context = DrawContext(config.workload, load_tokenizer(config.model.weights), config.data.path)
    identity = identify(context)
    limit = context_limit(config.model, config.backend)
    remedy = longer_context(config.model, config.backend)
    if out.exists():
        return reuse_workload(out, identity, limit, remedy)
    _check_vocabulary(config, context)
    requests = make_requests(context)
    check_context(
        lengths_table(requests),
        limit,
        f"workload {config.workload.workload_id}",
        f"bound the lengths in the preset, or {remedy}",
    )
    try:
        with atomic_directory(out, replace=False) as scratch:
            return write_workload(scratch, requests, identity, config)
    except FileExistsError:  # another process finished it in the meantime
        return reuse_workload(out, identity, limit, remedy)


def make_requests(context: DrawContext) -> Requests:
    """All requests of the preset, in the order of their arrival. Raises `WorkloadError`."""
    preset = context.preset
    candidates = preset.source.candidates(context, _number_of_requests(context))
    count = len(candidates.num_prefill_tokens)
    decode = candidates.num_decode_tokens
    if preset.decode_lengths is not None:
        decode = preset.decode_lengths.draw(context.stream("decode_lengths"), count, context)
    if decode is None:
        raise WorkloadError(
            f"{', '.join(preset.source.input_paths)}: no num_decode_tokens there: set "
            "decode_lengths in the preset"
        )
    arrivals = preset.arrivals.arrivals(context, count)
    traces = {
        f"{name}_trace": context.trace(part.recorded).source
        for name, part in preset.parts.items()
        if name != "source" and part.recorded is not None
    }
    return Requests(
        candidates.prompts,
        candidates.num_prefill_tokens,
        decode,
        arrivals.times_ns,
        arrivals.closed_loop,
        {"kind": preset.source.kind, **candidates.source, **traces},
    )


def _number_of_requests(context: DrawContext) -> int | None:
    """`None`: as many as the source has."""
    preset = context.preset
    if preset.num_requests is not None:
        return preset.num_requests
    count = preset.arrivals.count_within(context, preset.duration_s)
    if count is None or preset.duration_s is None:
        return count
    return max(count, preset.min_requests)


def _check_vocabulary(config: "ExperimentConfig", context: DrawContext) -> None:
    size, tokenizer = read_model_dimensions(config.model).vocab_size, context.tokenizer.meta
    if tokenizer.base_vocab_size > size:
        raise WorkloadError(
            f"{tokenizer.name}'s tokenizer has {tokenizer.base_vocab_size} tokens, model "
            f"{config.model.name} {size}: set model.weights to a directory with its tokenizer.json"
        )
