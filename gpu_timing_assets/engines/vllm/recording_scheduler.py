"""vLLM's own scheduler, which also writes down what was in each step and when it was scheduled and
processed.

Passed to vLLM as `scheduler_cls`, so it lives in the engine's process. Records are kept in memory
and written when a request named `FLUSH_REQUEST` has been served, so that no measured step waits for
a disk. Times are `time.monotonic_ns()`, one clock for all processes of a machine.

A record is one line of JSON:
    ["header", {…}]                           what the engine resolved
    ["s", step, begin_ns, end_ns, batch]      schedule(); batch: [[request_id, tokens_scheduled,
                                              tokens_computed_before], …]
    ["u", step, begin_ns, end_ns]             update_from_output()
"""

import json
import os
import time
from collections import deque
from typing import Any

from vllm.v1.core.sched.async_scheduler import AsyncScheduler
from vllm.v1.core.sched.scheduler import Scheduler

from gpu_timing_assets.engines.process_tree import die_with_parent
from gpu_timing_assets.engines.vllm.recording_names import FLUSH_REQUEST, RECORDING_VARIABLE
from gpu_timing_assets.engines.vllm.resolved import resolved_settings, vllm_environment
from gpu_timing_assets.engines.vllm.surface import attention_backend


class _Recording:
    """Mixed into a vLLM scheduler class before it."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        die_with_parent()
        super().__init__(*args, **kwargs)
        self._recording = open(os.environ[RECORDING_VARIABLE], "w", encoding="utf-8")  # noqa: SIM115
        self._records: list[tuple[Any, ...]] = [("header", _resolved(self))]
        self._unprocessed: deque[int] = deque()
        self._recorded_steps = 0
        self._write_records()

    def schedule(self, *args: Any, **kwargs: Any) -> Any:
        begin_ns = time.monotonic_ns()
        output = super().schedule(*args, **kwargs)  # type: ignore[misc]
        end_ns = time.monotonic_ns()
        self._unprocessed.append(self._recorded_steps)
        if output.total_num_scheduled_tokens:
            # An asynchronous scheduler has counted the tokens of this step as computed already.
            batch = [
                (name, count, self.requests[name].num_computed_tokens - count)  # type: ignore[attr-defined]
                for name, count in output.num_scheduled_tokens.items()
            ]
            self._records.append(("s", self._recorded_steps, begin_ns, end_ns, batch))
        self._recorded_steps += 1
        return output

    def update_from_output(self, scheduler_output: Any, model_runner_output: Any) -> Any:
        begin_ns = time.monotonic_ns()
        outputs = super().update_from_output(scheduler_output, model_runner_output)  # type: ignore[misc]
        end_ns = time.monotonic_ns()
        step = self._unprocessed.popleft()
        if scheduler_output.total_num_scheduled_tokens:
            self._records.append(("u", step, begin_ns, end_ns))
        if any(name.startswith(FLUSH_REQUEST) for name in scheduler_output.num_scheduled_tokens):
            self._write_records()
        return outputs

    def shutdown(self) -> None:
        self._write_records()
        super().shutdown()  # type: ignore[misc]

    def _write_records(self) -> None:
        self._recording.writelines(json.dumps(record) + "\n" for record in self._records)
        self._recording.flush()
        self._records.clear()


class RecordingScheduler(_Recording, Scheduler):
    """For an engine that schedules synchronously."""


class RecordingAsyncScheduler(_Recording, AsyncScheduler):
    """For an engine that schedules step k+1 before step k is processed."""


def _resolved(scheduler: Any) -> dict[str, Any]:
    """What only the engine's process knows: the settings as they ended up, KV blocks, attention."""
    config = scheduler.vllm_config
    return {
        "num_kv_blocks": scheduler.kv_cache_config.num_blocks,
        "kv_block_size": scheduler.block_size,
        **attention_backend(config),
        "resolved": resolved_settings(config),
        "environment": vllm_environment(),
    }
