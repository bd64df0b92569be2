"""The tables of a comparison as CSV, and what every one of their columns means."""

from pathlib import Path

import pandas as pd

from gpu_timing_assets.compare.judge.statistics import METRICS

Definition = tuple[str, str]
SIMULATION: dict[str, Definition] = {
    "simulation": ("", "short name of the simulation: its predictor")
}
METRIC: dict[str, Definition] = {
    "metric": (
        "",
        "TTFT, ITL, TPOT, E2E, throughput or goodput: see the rows of the table `metrics`",
    ),
    "statistic": ("", "mean, percentile (linear interpolation between order statistics) or rate"),
}
REQUEST: dict[str, Definition] = {
    "request_id": ("", "the workload's request"),
    "arrival_ms": ("ms", "planned arrival since the run's start"),
    "num_prefill_tokens": ("tokens", "prompt tokens"),
    "num_decode_tokens": ("tokens", "output tokens compared"),
}
ERROR = ("%", "100 · (simulated − real) / real")

DEFINITIONS: dict[str, dict[str, Definition]] = {
    "verdict": {
        **SIMULATION,
        **METRIC,
        "unit": ("", "unit of real and simulated"),
        "real": ("unit", "mean over the real runs of each run's own statistic"),
        "simulated": ("unit", "the simulation's statistic"),
        "error_pct": ERROR,
        "low_pct": (
            "%",
            "lower end of the error's bootstrap interval (requests with their tokens, and runs, "
            "resampled)",
        ),
        "high_pct": ("%", "upper end of the error's bootstrap interval"),
        "noise_pct": (
            "%",
            "largest difference between two real runs by the same statistic, of their mean",
        ),
        "verdict": (
            "",
            "below noise if |error| ≤ noise, else pass, warn or fail by the preset's bounds; "
            "undefined without an error",
        ),
    },
    "real_runs": {
        "run_id": ("", "the real run"),
        **METRIC,
        "unit": ("", "unit of value"),
        "value": ("unit", "the run's statistic"),
    },
    "distances": {
        **SIMULATION,
        **METRIC,
        "ks": (
            "share of 1",
            "Kolmogorov–Smirnov: largest distance between the distribution functions, "
            "mean over the real runs",
        ),
        "ks_noise": ("share of 1", "the largest of that between two real runs"),
        "wasserstein_ms": (
            "ms",
            "Wasserstein-1: mean distance between equal quantiles, mean over the real runs",
        ),
        "wasserstein_noise_ms": ("ms", "the largest of that between two real runs"),
    },
    "request_pairs": {
        **SIMULATION,
        **METRIC,
        "requests": ("requests", "requests that have the metric"),
        "bias_ms": ("ms", "mean over requests of simulated − real (real: mean over the runs)"),
        "bias_pct": ("%", "mean over requests of 100 · (simulated − real) / real"),
        "mape_pct": ("%", "mean over requests of the absolute percentage"),
        "mape_noise_pct": ("%", "the largest of that between two real runs"),
        "pearson_r": ("", "correlation of real and simulated over requests"),
    },
    "requests": {
        **SIMULATION,
        **REQUEST,
        **{
            f"{side}_{metric}_ms": ("ms", f"the request's {metric.upper()}, {text}")
            for metric in ("ttft", "tpot", "e2e")
            for side, text in (("real", "mean over the real runs"), ("simulated", "simulated"))
        },
    },
    "phases": {
        **SIMULATION,
        "phase": (
            "",
            "prefill: planned arrival → first token; decode: first → last token; total: E2E",
        ),
        "real_ms": ("ms", "mean over requests and real runs"),
        "simulated_ms": ("ms", "mean over requests"),
        "error_ms": ("ms", "simulated − real"),
        "error_pct": ERROR,
        "contribution_pct": ("%", "error_ms in percent of the real E2E: prefill + decode = total"),
        "noise_pct": ("%", "largest difference between two real runs, of their mean"),
    },
    "grouped_errors": {
        **SIMULATION,
        "grouped_by": (
            "",
            "what the requests are grouped by: fifths of the requests, or tenths of the time of "
            "arrival",
        ),
        "group": ("", "number of the group, ascending"),
        "low": ("as grouped_by", "smallest value in the group"),
        "high": ("as grouped_by", "largest value in the group"),
        "requests": ("requests", "requests in the group that have the metric"),
        "metric": ("", "TTFT, TPOT or E2E"),
        "real_ms": ("ms", "mean over the group's requests and the real runs"),
        "simulated_ms": ("ms", "mean over the group's requests"),
        "error_pct": ERROR,
        "noise_pct": (
            "%",
            "largest difference between two real runs of the group's mean, of their mean",
        ),
    },
    "attribution": {
        **SIMULATION,
        **METRIC,
        "layer": (
            "",
            "what the share is attributed to; not separated where a substituted simulation is "
            "missing",
        ),
        "share_pct": (
            "%",
            "part of the error that goes when what the real engine did is put in place of the "
            "layer, "
            "in percent of the real value; the layers sum to error_pct",
        ),
        "substituted_error_pct": ("%", "error that is left with the layer substituted"),
        "error_pct": ERROR,
    },
    "host_speed": {
        "run_id": ("", "the real run"),
        "steps": ("steps", "its steps of a size that the simulation has too"),
        "real_us": ("µs", "median time to schedule one of them"),
        "profiled_us": ("µs", "median of what the bundle says of the same steps"),
        "host_time_ratio": (
            "",
            "median over the steps of real / profiled: above 1 the host was slower than when it "
            "was profiled",
        ),
    },
    "batch_agreement": {
        "real_run": ("", "a real run"),
        "other_run": ("", "the run held against it"),
        "other": ("", "name of the simulation, or real"),
        "real_steps": ("steps", "steps with requests in the real run"),
        "other_steps": ("steps", "steps with requests in the other"),
        "first_different_step": (
            "",
            "first step, counted from 0, with other requests or token counts; empty if none",
        ),
    },
    "first_difference": {
        "real_run": ("", "a real run"),
        "other_run": ("", "the run held against it"),
        "step": ("", "first step that differs, from 0"),
        "in_run": ("", "whose batch this row is of"),
        "request_id": ("", "request in the batch"),
        "num_scheduled_tokens": ("tokens", "its tokens in the step"),
        "num_computed_tokens": ("tokens", "its tokens computed before the step"),
    },
    "load_over_time": {
        "run_id": ("", "the run"),
        "series": ("", "real, or the simulation's name"),
        "side": ("", "real or simulated"),
        "time_s": ("s", "middle of the window, since the run's start"),
        "running_requests": ("requests", "arrived and not finished, mean over the window"),
        "batch_size": (
            "requests",
            "requests in a step, mean over the steps scheduled in the window; empty if none was",
        ),
    },
    "completeness": {
        "run_id": ("", "the run"),
        "side": ("", "real or simulated"),
        "label": ("", "name of the run in the report"),
        "requests": ("requests", "requests in the run"),
        "failed_requests": ("requests", "of these, not ok"),
        "compared_requests": ("requests", "requests that are ok in every run"),
        "planned_tokens": ("tokens", "output tokens asked for"),
        "made_tokens": ("tokens", "output tokens made"),
        "compared_tokens": (
            "tokens",
            "output tokens compared: the fewest that the real runs made, per request",
        ),
    },
    "excluded_requests": {
        "request_id": ("", "request left out of every run"),
        "run_id": ("", "the run in which it failed"),
        "side": ("", "real or simulated"),
        "reason": ("", "the error as the run recorded it"),
    },
    "parity": {
        "run_id": ("", "the run"),
        "side": ("", "real or simulated"),
        "knob": ("", "identity or resolved setting"),
        "value": ("", "its value in this run"),
        "first_real_run": ("", "its value in the first real run"),
        "parity": (
            "",
            "equal; refuses (the comparison); listed (may differ); not held against (recorded on "
            "one side only)",
        ),
    },
    "metrics": {
        "metric": ("", "name"),
        "unit": ("", "unit"),
        "definition": ("", "what is measured, from where to where"),
    },
    "definitions": {
        "table": ("", "file in tables/, without .csv"),
        "column": ("", "its column"),
        "unit": ("", "unit of the column"),
        "definition": ("", "what it holds"),
    },
}


def write_tables(tables: dict[str, pd.DataFrame], directory: Path) -> None:
    """Write each table, `metrics.csv` and `definitions.csv`. Raises `KeyError` for a column without
    a definition.
    """
    directory.mkdir()
    metrics = pd.DataFrame(
        [(m.name, m.unit, m.definition) for m in METRICS], columns=["metric", "unit", "definition"]
    )
    everything = {**tables, "metrics": metrics}
    rows = [
        (name, column, *DEFINITIONS[name][column])
        for name in sorted([*everything, "definitions"])
        for column in (
            everything[name].columns if name in everything else DEFINITIONS["definitions"]
        )
    ]
    everything["definitions"] = pd.DataFrame(
        rows, columns=["table", "column", "unit", "definition"]
    )
    for name, frame in everything.items():
        frame.to_csv(
            directory / f"{name}.csv",
            index=False,
            lineterminator="\n",
            encoding="utf-8",
            float_format="%.9g",
        )
