"""When each step ran: noted in the worker, on the host's clock, matched with the scheduler's."""

import json
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gpu_timing_assets.core.errors import EngineError
from gpu_timing_assets.core.tables.schemas import OBSERVED
from gpu_timing_assets.engines.vllm.recording import StepRecording
from gpu_timing_assets.engines.vllm.step_timer import StepTimer, _event_times_ns


def recording_of(directory: Path, tokens: list[int]) -> StepRecording:
    """Of steps with one request each, that were scheduled and processed."""
    lines: list[list[Any]] = []
    for step, count in enumerate(tokens):
        begin = 1000 * step
        lines += [["s", step, begin, begin + 10, [["b0.0-x", count, 0]]]]
        lines += [["u", step, begin + 500, begin + 510]]
    path = directory / "recording.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return StepRecording(path)


def observed(
    number: int,
    tokens: int,
    gpu: tuple[int, int] = (30, 400),
    host: tuple[int, int, int, int] = (20, 200, 210, 300),
) -> list[int]:
    return [number, tokens, 1, *host, *gpu]


def test_an_observed_step_stands_beside_its_record_and_others_are_empty(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, [16, 1, 1])
    recording.add_observed([[observed(1, 1)]])
    steps = recording.read().steps.set_index("step")
    assert steps.loc[1, list(OBSERVED)].tolist() == [20, 200, 210, 300, 30, 400]
    assert steps.loc[[0, 2], list(OBSERVED)].isna().all(axis=None)


def test_a_step_of_several_ranks_is_that_of_the_last_once_a_gpu_has_begun(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, [16])
    first = observed(0, 16, (30, 400), (20, 200, 210, 300))
    second = observed(0, 16, (25, 420), (22, 350, 355, 390))
    recording.add_observed([[first], [second]])
    steps = recording.read().steps
    assert steps.loc[0, list(OBSERVED)].tolist() == [22, 350, 355, 390, 25, 420]


def test_ranks_that_ran_other_steps_are_refused(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, [16])
    with pytest.raises(EngineError, match="rank 1 ran 0 steps and rank 0 1"):
        recording.add_observed([[observed(0, 16)], []])


def test_steps_that_are_not_the_schedulers_are_refused(tmp_path: Path) -> None:
    recording = recording_of(tmp_path, [16, 1])
    recording.add_observed([[observed(1, 16)]])
    with pytest.raises(EngineError, match="step 1 had 16 tokens, the scheduler's 1"):
        recording.read()


def test_the_worker_times_the_steps_that_schedule_tokens_while_it_is_told_to() -> None:
    class Worker(StepTimer):
        def __init__(self) -> None:
            self.model_runner = SimpleNamespace(
                execute_model=lambda output: time.sleep(0.02),
                sample_tokens=lambda grammar: time.sleep(0.01),
            )
            forward = SimpleNamespace(static_forward_context={})
            self.vllm_config = SimpleNamespace(compilation_config=forward)

        def run(self, tokens: int) -> None:
            names = {"a": tokens} if tokens else {}
            self.model_runner.execute_model(
                SimpleNamespace(total_num_scheduled_tokens=tokens, num_scheduled_tokens=names)
            )
            if tokens:
                self.model_runner.sample_tokens(None)

    worker = Worker()
    assert worker.count_steps() == {"attention_backend": None, "attention_backend_version": None}
    worker.run(8)
    worker.start_step_times()
    worker.run(0)
    worker.run(3)
    [[number, tokens, requests, *times]] = worker.stop_step_times()
    worker.run(1)
    assert (number, tokens, requests) == (1, 3, 1)
    execute_begin, execute_end, sample_begin, sample_end, gpu_begin, gpu_end = times
    assert execute_end - execute_begin >= 20e6
    assert sample_end - sample_begin >= 10e6
    # a device whose work is done when the call returns
    assert execute_begin <= gpu_begin < execute_end
    assert sample_begin < gpu_end <= sample_end
    assert worker.stop_step_times() == []


@dataclass(frozen=True)
class Event:
    """As CUDA's: it tells the time to another one in ms, by the GPU's clock."""

    gpu_ms: float

    def elapsed_time(self, other: "Event") -> float:
        return other.gpu_ms - self.gpu_ms


def test_a_gpu_clock_that_drifts_is_put_on_the_hosts() -> None:
    # 20 µs a second fast, over a minute
    drift = 1 + 20e-6
    host_ms = [0.0, 1.5, 900.0, 2500.0, 30_000.0, 60_000.0]
    first, *events, last = [Event(ms * drift) for ms in host_ms]
    found = _event_times_ns(events, (first, 7), (last, 7 + 60_000_000_000))
    assert found == pytest.approx([7 + ms * 1e6 for ms in host_ms[1:-1]], abs=2)
