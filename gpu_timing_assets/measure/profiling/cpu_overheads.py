"""`cpu_overheads.csv`: the host's times by batch size under the names of Vidur's CPU-overhead
profiler.

Vidur 0.0.26 reads no such file: its predictors have no term for the host. It is for those who know
it from other versions. Times are medians in ms; there is no Ray here, so its column is left out.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from gpu_timing_assets.config.experiment import ExperimentConfig


def write_cpu_overheads(
    steps: pd.DataFrame, head: pd.DataFrame, config: ExperimentConfig, out: Path
) -> None:
    """From the decode bursts; `prepare_inputs_e2e` is the worker's `execute_model`."""
    decode = steps[(steps["kind"] == "decode") & (steps["num_prefill_tokens"] == 0)]
    measured = pd.DataFrame(
        {
            "batch_size": decode["num_decode_requests"],
            "schedule": (decode["schedule_end_ns"] - decode["schedule_begin_ns"]) / 1e6,
            "prepare_inputs_e2e": (decode["execute_end_ns"] - decode["execute_begin_ns"]) / 1e6,
            "process_model_outputs": (decode["update_end_ns"] - decode["update_begin_ns"]) / 1e6,
        }
    )
    grouped = measured.groupby("batch_size").agg(["min", "max", "mean", "median", "std"])
    grouped.columns = [f"{name}_{statistic}" for name, statistic in grouped.columns]
    table = grouped.reset_index()
    table["sampler_e2e_median"] = np.interp(
        table["batch_size"], head["num_requests"], head["time_stats.sampler.median"]
    )
    table.insert(0, "model_name", config.model.name)
    table.insert(2, "tensor_parallel_degree", config.backend.tensor_parallel_size)
    table.to_csv(out / "cpu_overheads.csv", index=False, lineterminator="\n")
