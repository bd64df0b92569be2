"""Make every committed workload and read each back; have vLLM itself load the export. Needs a CPU
only, about 30 s.

`python gpu_timing_assets_tests/manual/test_workload_spec_smoke.py [DATA_ROOT]` keeps the workloads,
and says where their pages lie; under pytest they are made in a temporary directory.
"""

import sys
import tempfile
from pathlib import Path

import pytest

from gpu_timing_assets.config.experiment import compose, preset_names
from gpu_timing_assets.core.prompts import WorkloadPrompts
from gpu_timing_assets.core.tables.invariants import read_workload_tables
from gpu_timing_assets.workload import run
from gpu_timing_assets.workload.exports import export_timed_trace
from gpu_timing_assets.workload.tokenizer import load_tokenizer

# the target with the longest context, so that every preset can be made
TARGET = ("model=qwen3-0.6b", "hardware=h100", "backend=vllm", "backend.max_model_len=40960")


def make(name: str, data_root: Path) -> Path:
    """Make the workload and check that every prompt has the length that the trace says."""
    config = compose([f"workload={name}", f"data_root={data_root}", *TARGET])
    out = config.data.workload_dir(name)
    meta = run(config, out)
    lengths, _ = read_workload_tables(out)
    prompts = WorkloadPrompts(out)
    assert [len(prompt) for prompt in prompts] == lengths["num_prefill_tokens"].tolist()
    print(
        f"{name:22} {meta.num_requests:6,} requests {meta.num_prefill_tokens:10,} + "
        f"{meta.num_decode_tokens:8,} tokens "
        f"{meta.duration_ns / 1e9:7.1f} s  {meta.workload_sha256[:12]}  {out / 'workload.html'}"
    )
    return out


def check_in_vllm(workload_dir: Path, trace: Path) -> None:
    """vLLM's own reader of timed traces, with its default settings, gives the planned times and
    lengths.
    """
    from transformers import PreTrainedTokenizerFast
    from vllm.benchmarks.datasets.datasets import TimedTrace

    export_timed_trace(workload_dir, trace)
    lengths, intervals = read_workload_tables(workload_dir)
    dataset = TimedTrace(
        dataset_path=str(trace),
        timed_trace_label_timestamp="timestamp",
        timed_trace_label_input_length="input_length",
        timed_trace_label_output_length="output_length",
        timed_trace_label_hash_ids="hash_ids",
    )
    samples = dataset.sample(
        PreTrainedTokenizerFast(tokenizer_file=str(load_tokenizer().path)), len(lengths)
    )
    assert [len(sample.prompt) for sample in samples] == lengths["num_prefill_tokens"].tolist()
    assert [sample.expected_output_len for sample in samples] == lengths[
        "num_decode_tokens"
    ].tolist()
    assert [round(sample.timestamp * 1e9) for sample in samples] == intervals[
        "arrival_time_ns"
    ].tolist()
    print(f"vLLM reads the same {len(samples)} requests from {trace}")


@pytest.mark.parametrize("name", preset_names("workload"))
def test_every_committed_workload_can_be_made(name: str, tmp_path: Path) -> None:
    make(name, tmp_path)


def test_vllm_reads_the_export(tmp_path: Path) -> None:
    check_in_vllm(make("mix_rate_10", tmp_path), tmp_path / "timed.jsonl")


if __name__ == "__main__":
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    for preset in preset_names("workload"):
        directory = make(preset, root)
        if preset == "mix_rate_10":
            check_in_vllm(directory, root / "timed.jsonl")
