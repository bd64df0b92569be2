"""`make reference`: the measured reference targets, simulated from their shipped bundles and held
against their shipped runs.

Everything is made below the data root; `data/reference/<hardware>/` is only read. Needs no GPU.
"""

import argparse
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu_timing_assets import compare as comparison
from gpu_timing_assets import simulators, workload
from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.comparison import VerdictRow
from gpu_timing_assets.core.data_root import REFERENCE_DATA, DataRoot
from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.core.errors import GpuTimingError
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run

PREDICTORS = ("random_forest", "kernels_only", "engine_loop")
# they attribute the error of `engine_loop`
SUBSTITUTIONS = ("recorded_batches", "recorded_step_times")
CORRECTED = "engine_loop at the runs' host speed"
SHOWN_PREDICTORS = ("random_forest", "kernels_only", "engine_loop", CORRECTED)
SHOWN = (
    ("ITL", "p50"),
    ("ITL", "p99"),
    ("TPOT", "mean"),
    ("E2E", "p50"),
    ("E2E", "p90"),
    ("TTFT", "p50"),
    ("TTFT", "p90"),
)
# what was asked of the time model before it was measured, in per cent
BOUNDS_PCT = {
    ("ITL", "p50"): 2.0,
    ("TPOT", "mean"): 2.0,
    ("E2E", "p50"): 2.0,
    ("TTFT", "p50"): 5.0,
    ("TTFT", "p90"): 8.0,
}
# wider where the host paces the steps, whose speed varies from run to run
HOST_PACED_BOUNDS_PCT = {
    ("ITL", "p50"): 5.0,
    ("TPOT", "mean"): 5.0,
    ("E2E", "p50"): 5.0,
    ("TTFT", "p50"): 10.0,
    ("TTFT", "p90"): 10.0,
}
HOST_PACED_MODELS = ("qwen3-0.6b",)


@dataclass(frozen=True)
class ReferenceCase:
    """One workload that was measured on one target, and its real runs."""

    hardware: str
    model: str
    tensor_parallel_size: int
    workload_id: str
    real_run_dirs: tuple[Path, ...]

    @property
    def bounds_pct(self) -> dict[tuple[str, str], float]:
        return HOST_PACED_BOUNDS_PCT if self.model in HOST_PACED_MODELS else BOUNDS_PCT

    @property
    def target(self) -> str:
        devices = f" on {self.tensor_parallel_size} GPUs" if self.tensor_parallel_size > 1 else ""
        return f"{self.hardware} {self.model}{devices}"

    def config(
        self,
        predictor: str = "engine_loop",
        substitution: str | None = None,
        host_speed: str = "profiled",
    ) -> ExperimentConfig:
        chosen = [f"workload={self.workload_id}", f"simulator={predictor}"]
        chosen += [f"model={self.model}", f"hardware={self.hardware}"]
        # the bundles cover 4,096 tokens of context, code completion asks for up to 7,180
        chosen += ["backend=vllm", "profiling=standard", "simulator.max_extrapolation=2"]
        chosen += [f"simulator.host_speed={host_speed}"]
        chosen += [f"backend.tensor_parallel_size={self.tensor_parallel_size}"]
        return compose([*chosen, f"simulator.substitution={substitution or 'null'}"])

    @property
    def simulations(self) -> tuple[ExperimentConfig, ...]:
        """Every predictor, and `engine_loop` at the runs' host speed where that was probed."""
        predicted = [self.config(predictor) for predictor in PREDICTORS]
        speed = "profiled"
        if read_complete_run(self.real_run_dirs[-1], RealRunMeta).probe_after is not None:
            speed = "probed"
            predicted.append(self.config(host_speed=speed))
        substituted = [self.config("engine_loop", name, speed) for name in SUBSTITUTIONS]
        return (*predicted, *substituted)

    @property
    def profiling_root(self) -> Path:
        data = DataRoot(REFERENCE_DATA / self.hardware)
        return data.profiling_root(self.hardware, self.model, self.tensor_parallel_size)


def find_cases() -> list[ReferenceCase]:
    """Every workload with real runs and a bundle, by target and request rate."""
    found: dict[tuple[str, str, int, str], list[Path]] = defaultdict(list)
    for meta_file in sorted(REFERENCE_DATA.glob("*/real_runs/*/run_meta.json")):
        meta = read_complete_run(meta_file.parent, RealRunMeta)
        devices = meta.params.tensor_parallel_size
        case = (meta.hardware, meta.model, devices, str(meta.workload_id))
        found[case].append(meta_file.parent)
    cases = [ReferenceCase(*key, tuple(runs)) for key, runs in found.items()]
    profiled = [case for case in cases if case.profiling_root.is_dir()]
    return sorted(profiled, key=lambda case: (case.hardware, case.model, _rate(case)))


def run_case(case: ReferenceCase) -> comparison.ComparisonResult:
    """Make the workload, simulate it with every predictor and substitution, and compare.

    Raises `GpuTimingError`, for one if the workload's preset no longer makes the bytes that were
    measured.
    """
    config = case.config()
    directory = config.data.workload_dir(case.workload_id)
    workload.run(config, directory)
    simulated = []
    for chosen in case.simulations:
        out = chosen.data.sim_run_dir(chosen.sim_run_id)
        inputs = simulators.SimInputs(directory, case.profiling_root, case.real_run_dirs[-1])
        simulators.run(chosen, inputs, out)
        simulated.append(out)
    compared = comparison.ComparisonInputs(case.real_run_dirs, tuple(simulated))
    return comparison.run(config, compared, config.data.comparison_dir(config.comparison_id))


def table_rows(case: ReferenceCase, result: comparison.ComparisonResult) -> Iterator[str]:
    """A Markdown row each: the real value, the noise of the real runs, each predictor's error, and
    the verdict on the judged one.
    """
    by_key = {(row.simulation, row.metric, row.statistic): row for row in result.verdicts}
    for metric, statistic in SHOWN:
        rows = [by_key.get((name, metric, statistic)) for name in SHOWN_PREDICTORS]
        judged = by_key[result.primary_simulation, metric, statistic]
        found = (None if row is None else row.error_pct for row in rows)
        errors = " | ".join("–" if error is None else f"{error:+.1f}" for error in found)
        noise = "–" if judged.noise_pct is None else f"{judged.noise_pct:.1f}"
        yield (
            f"| {case.target} | {case.workload_id} | {metric} {statistic} | "
            f"{judged.real:.2f} | {noise} | {errors} | {judged.verdict} |"
        )


def judged_row(case: ReferenceCase, result: comparison.ComparisonResult) -> str:
    """A Markdown row: the judged simulation's error in each figure that has a bound, and the real
    runs' noise behind it.
    """
    by_key = {(row.metric, row.statistic): row for row in result.judged_rows}
    cells = [case.target, case.workload_id]
    for key in BOUNDS_PCT:
        error, noise = by_key[key].error_pct, by_key[key].noise_pct
        cells.append("–" if error is None or noise is None else f"{error:+.1f} ({noise:.1f})")
    return f"| {' | '.join(cells)} |"


def claims(rows: Iterable[tuple[ReferenceCase, VerdictRow]]) -> Iterator[str]:
    """A sentence for each target and simulation with a host: how many of all its figures with a
    bound lie within it, how many more within the noise, and how many beyond both.

    `rows`: every target's verdicts, of all its workloads.
    """
    counted: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for case, row in rows:
        bound = case.bounds_pct.get((row.metric, row.statistic))
        if bound is None or row.simulation not in ("engine_loop", CORRECTED):
            continue
        error = math.inf if row.error_pct is None else abs(row.error_pct)
        noise = row.noise_pct or 0.0
        place = "within" if error <= bound else "noise" if error <= noise else "beyond"
        counted[case.target, row.simulation][place] += 1
    for (target, simulation), places in sorted(counted.items()):
        yield (
            f"{target}, {simulation}: of {places.total()} figures {places['within']} within their "
            f"bound, {places['noise']} more within the noise, {places['beyond']} beyond"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hardware", help="only this GPU")
    parser.add_argument("--model", help="only this model")
    chosen = parser.parse_args(arguments)
    return run_to_exit_code("reference", lambda: _simulate_and_print(chosen))


def _simulate_and_print(chosen: argparse.Namespace) -> int:
    errors = "".join(f"{name}, % | " for name in SHOWN_PREDICTORS)
    rows = [
        f"| target | workload | statistic | real, ms | noise, % | {errors}verdict |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    begin = time.monotonic()
    cases = [
        case
        for case in find_cases()
        if chosen.model in (None, case.model) and chosen.hardware in (None, case.hardware)
    ]
    results, refused = [], 0
    for case in cases:
        try:
            result = run_case(case)
        except GpuTimingError as error:
            # the others are worth their minutes all the same
            refused += 1
            _say(f"{case.target} {case.workload_id}: {error}")
            continue
        results.append((case, result))
        rows.extend(table_rows(case, result))
        _say(f"{case.target} {case.workload_id}: {result.report}")
    if results:
        data = cases[0].config().data
        matrix = comparison.build_fidelity_matrix(data, data.fidelity_matrix_dir)
        _say(f"all at a glance: {matrix.page}")
    figures = " | ".join(f"{metric} {statistic}, %" for metric, statistic in BOUNDS_PCT)
    rows += [
        "",
        f"| target | workload | {figures} |",
        f"| --- | --- |{' ---: |' * len(BOUNDS_PCT)}",
    ]
    rows += [judged_row(case, result) for case, result in results]
    verdicts = [(case, row) for case, result in results for row in result.verdicts]
    sys.stdout.write("\n".join((*rows, "", *claims(verdicts))) + "\n")
    _say(f"{len(results)} of {len(cases)} workloads in {time.monotonic() - begin:.0f} s")
    return 1 if refused else 0


def _rate(case: ReferenceCase) -> float:
    arrivals = case.config().workload.arrivals
    return float(getattr(arrivals, "rate_per_s", 0.0))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
