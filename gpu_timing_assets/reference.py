"""`make reference`: the measured reference targets, simulated from their shipped bundles and held
against their shipped runs.

Everything is made below the data root; `data/reference/<hardware>/` is only read. Needs no GPU.
"""

import argparse
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from gpu_timing_assets import compare as comparison
from gpu_timing_assets import simulators, workload
from gpu_timing_assets.config.experiment import ExperimentConfig, compose
from gpu_timing_assets.core.data_root import REFERENCE_DATA
from gpu_timing_assets.core.errors import GpuTimingError
from gpu_timing_assets.core.run import RealRunMeta, read_complete_run

# predictor and substitution; substitutions attribute the error of `engine_loop`
SIMULATIONS = (
    ("random_forest", None),
    ("kernels_only", None),
    ("engine_loop", None),
    ("engine_loop", "recorded_batches"),
    ("engine_loop", "recorded_step_times"),
)
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


@dataclass(frozen=True)
class ReferenceCase:
    """One workload that was measured on one target, and its real runs."""

    hardware: str
    model: str
    workload_id: str
    real_run_dirs: tuple[Path, ...]
    bundles: str

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
        return compose([*chosen, f"simulator.substitution={substitution or 'null'}"])

    @property
    def simulations(self) -> tuple[ExperimentConfig, ...]:
        """One more where the host's speed was probed beside the real runs."""
        chosen = tuple(self.config(*simulation) for simulation in SIMULATIONS)
        if read_complete_run(self.real_run_dirs[-1], RealRunMeta).probe_after is None:
            return chosen
        return (*chosen, self.config(host_speed="probed"))

    @property
    def profiling_root(self) -> Path:
        return REFERENCE_DATA / self.hardware / self.bundles / self.hardware / self.model


def find_cases(bundles: str) -> list[ReferenceCase]:
    """Every workload with real runs and a bundle below `bundles`, by target and request rate."""
    found: dict[tuple[str, str, str], list[Path]] = defaultdict(list)
    for meta_file in sorted(REFERENCE_DATA.glob("*/real_runs/*/run_meta.json")):
        meta = read_complete_run(meta_file.parent, RealRunMeta)
        found[meta.hardware, meta.model, str(meta.workload_id)].append(meta_file.parent)
    cases = [ReferenceCase(*key, tuple(runs), bundles) for key, runs in found.items()]
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
    """A Markdown row each: the real value, the noise of the real runs, each predictor's error."""
    by_key = {(row.simulation, row.metric, row.statistic): row for row in result.verdicts}
    for metric, statistic in SHOWN:
        rows = [by_key.get((name, metric, statistic)) for name in SHOWN_PREDICTORS]
        engine = by_key["engine_loop", metric, statistic]
        found = (None if row is None else row.error_pct for row in rows)
        errors = " | ".join("–" if error is None else f"{error:+.1f}" for error in found)
        noise = "–" if engine.noise_pct is None else f"{engine.noise_pct:.1f}"
        yield (
            f"| {case.hardware} {case.model} | {case.workload_id} | {metric} {statistic} | "
            f"{engine.real:.2f} | {noise} | {errors} | {engine.verdict} |"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hardware", help="only this GPU")
    parser.add_argument("--model", help="only this model")
    parser.add_argument(
        "--bundles",
        default="vidur_profiling",
        help="the folder of the bundles to simulate from; vidur_profiling_after holds one that "
        "was measured after the real runs",
    )
    chosen = parser.parse_args(arguments)
    errors = "".join(f"{name}, % | " for name in SHOWN_PREDICTORS)
    rows = [
        f"| target | workload | statistic | real, ms | noise, % | {errors}engine_loop |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    begin = time.monotonic()
    try:
        cases = [
            case
            for case in find_cases(chosen.bundles)
            if chosen.model in (None, case.model) and chosen.hardware in (None, case.hardware)
        ]
        for case in cases:
            result = run_case(case)
            rows.extend(table_rows(case, result))
            _say(f"{case.hardware} {case.model} {case.workload_id}: {result.report}")
        if cases:
            data = cases[0].config().data
            matrix = comparison.build_fidelity_matrix(data, data.fidelity_matrix_dir)
            _say(f"all at a glance: {matrix.page}")
    except GpuTimingError as error:
        sys.stderr.write(f"reference: {error}\n")
        return error.exit_code
    sys.stdout.write("\n".join(rows) + "\n")
    _say(f"{len(cases)} workloads in {time.monotonic() - begin:.0f} s")
    return 0


def _rate(case: ReferenceCase) -> float:
    arrivals = case.config().workload.arrivals
    return float(getattr(arrivals, "rate_per_s", 0.0))


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


if __name__ == "__main__":
    raise SystemExit(main())
