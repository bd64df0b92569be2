"""Each operator of a model as vLLM runs it on this CPU can be called on its own and be timed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.tables.schemas import LAYER_OPERATORS
from gpu_timing_assets.engines.vllm.attention import Batch, _slots

# in a process of its own: a native library stays for good
TIME = """
import json
from gpu_timing_assets.config.dtype import resolved_dtype
from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.core.machine import native_library_of_cpu
from gpu_timing_assets.engines.vllm.operators import start_operators
from gpu_timing_assets.measure.profiling.kernel_timer import KernelTimer
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import engine_params

config = compose(["hardware=cpu"])
params = engine_params(
    config, attention_backend="CPU_ATTN", kv_block_size=128, native_library=native_library_of_cpu()
)
operators, timer = start_operators(config, params), KernelTimer("cpu", 3, 1)
found = [
    *(operator for _, operator in operators.linears([1, 8])),
    *(operator for _, operator in operators.head([2])),
    operators.kv_cache_save(8),
    operators.decode_attention(4, 130),
    operators.prefill_attention(16, 32),
]
print(json.dumps([timer.time(operator).model_dump() for operator in found]))
"""


def test_every_operator_takes_some_time_on_this_cpu() -> None:
    pytest.importorskip("vllm", reason="no vLLM is installed")
    done = subprocess.run(
        [sys.executable, "-c", TIME],
        cwd=PROJECT_ROOT,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    times = json.loads(done.stdout.splitlines()[-1])
    others = {"lm_head", "sampler", "attn_kv_cache_save", "attn_decode", "attn_prefill"}
    assert {time["operator"] for time in times} == {*LAYER_OPERATORS, *others}
    for time in times:
        assert 0 < time["min"] <= time["median"] <= time["max"], time


def test_new_tokens_go_behind_the_context_in_the_blocks_of_their_request() -> None:
    # blocks of 4: request 0 has 3 tokens of context and gets 2, request 1 gets its first one
    table = np.array([[5, 2], [7, 1]], dtype=np.int32)
    slots = _slots(table, Batch((2, 1), (3, 0)), 4)
    assert slots.tolist() == [5 * 4 + 3, 2 * 4 + 0, 7 * 4 + 0]
