"""One comparison, from the runs' directories to the report's: gate, align, judge, explain,
write.
"""

from pathlib import Path

import numpy as np

from gpu_timing_assets.compare.explain.host_speed import host_note
from gpu_timing_assets.compare.findings import Findings, find_out
from gpu_timing_assets.compare.gate.align import Aligned, align
from gpu_timing_assets.compare.gate.load import load_run, read_metas, simulation_labels
from gpu_timing_assets.compare.gate.parity import judged_simulation, parity_table, sift
from gpu_timing_assets.compare.results import (
    TIMELINE_FILE,
    ComparisonInputs,
    ComparisonResult,
    load_result,
)
from gpu_timing_assets.compare.show.report import write_report
from gpu_timing_assets.compare.show.timeline import write_timeline
from gpu_timing_assets.compare.show.write_tables import write_tables
from gpu_timing_assets.config.comparison import ComparisonPreset
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import IncomparableRunsError
from gpu_timing_assets.core.files import CONFIG_FILE, file_sha256, write_json
from gpu_timing_assets.core.provenance import environment, git_state, utc_now
from gpu_timing_assets.core.run import (
    RUN_META_FILE,
    ComparedInput,
    ComparisonMeta,
    Completeness,
    SimRunMeta,
)


def compare(config: ExperimentConfig, inputs: ComparisonInputs, out: Path) -> ComparisonResult:
    """See `gpu_timing_assets.compare.run`."""
    started_at = utc_now()
    preset = config.comparison
    real_metas, sim_metas = read_metas(inputs, allow_invalid=preset.allow_mismatch)
    sifted = sift(
        real_metas,
        sim_metas,
        allow_mismatch=preset.allow_mismatch,
        kv_blocks_tolerance_pct=preset.kv_blocks_tolerance_pct,
    )
    labels = simulation_labels(sim_metas)
    real = [
        load_run(directory, meta, meta.run_id)
        for directory, meta in zip(inputs.real_run_dirs, real_metas, strict=True)
    ]
    simulated = [
        load_run(inputs.sim_run_dirs[position], sim_metas[position], labels[position])
        for position in sifted.kept
    ]
    aligned = align(real, simulated)
    overridden = sifted.overridden + refuse_single_request_backend(
        aligned, allow_mismatch=preset.allow_mismatch
    )
    findings = find_out(aligned, preset, primary=labels[judged_simulation(sim_metas)])
    findings.tables["parity"] = parity_table(real_metas, sim_metas, preset.kv_blocks_tolerance_pct)
    notes = (*overridden, *sifted.left_out, *_notes(aligned, findings, preset))
    with atomic_directory(out) as scratch:
        write_tables(findings.tables, scratch / "tables")
        write_json(scratch / CONFIG_FILE, config)
        write_report(scratch, out.name, aligned, findings, preset, overridden, notes)
        write_timeline(
            scratch / TIMELINE_FILE,
            [aligned.real[0], aligned.simulation(findings.primary_simulation)],
        )
        write_json(
            scratch / RUN_META_FILE,
            _run_meta(
                out.name,
                inputs,
                aligned,
                findings,
                config,
                started_at,
                overridden,
                sifted.listed,
                notes,
            ),
        )
    return load_result(out)


def refuse_single_request_backend(aligned: Aligned, *, allow_mismatch: bool) -> list[str]:
    """What would refuse the comparison because a backend that serves one request at a time says
    nothing about requests that overlap, and `null_engine` nothing about an engine.

    Raises `IncomparableRunsError` for the first of it, unless `allow_mismatch`.
    """
    problems = []
    for series in aligned.real:
        meta = series.run.meta
        alone = not meta.params.comparable_under_load
        if meta.backend == "null_engine":
            problems.append(
                f"{meta.run_id} ran on null_engine, which measures the client and no engine"
            )
        elif (
            alone
            and (aligned.grid.arrival_ns[1:] < np.maximum.accumulate(series.last_ns)[:-1]).any()
        ):
            problems.append(
                f"{meta.run_id} ran on {meta.backend}, which is not comparable under load: "
                "its requests overlap"
            )
    if problems and not allow_mismatch:
        raise IncomparableRunsError(f"{problems[0]}. Compare with a run of backend=vllm")
    return problems


def _notes(aligned: Aligned, findings: Findings, preset: ComparisonPreset) -> list[str]:
    notes = []
    noise = [
        row.noise_pct for row in findings.verdicts if row.noise_pct is not None and row.unit == "ms"
    ]
    if noise and np.median(noise) > preset.warn_pct:
        notes.append(
            f"the real runs themselves differ by {np.median(noise):.0f} % (median of the "
            f"latencies' statistics, "
            f"at most {max(noise):.0f} %): an error below that says little about the simulation"
        )
    if about_the_host := host_note(findings.tables["host_speed"]):
        notes.append(about_the_host)
    if len(aligned.excluded):
        requests = aligned.excluded["request_id"].nunique()
        what = (
            "1 request failed in a run and is"
            if requests == 1
            else f"{requests} requests failed in a run and are"
        )
        notes.append(f"{what} left out of every run: see tables/excluded_requests.csv")
    made = [series.run.requests["num_decode_tokens_actual"].to_numpy() for series in aligned.real]
    if any((other != made[0])[(other > 0) & (made[0] > 0)].any() for other in made[1:]):
        notes.append(
            "the real runs made different numbers of tokens: each request is cut to the fewest"
        )
    for series in (*aligned.simulated, *aligned.substituted):
        if isinstance(series.run.meta, SimRunMeta) and series.run.meta.extrapolated:
            notes.append(
                f"{series.label} reached beyond what its profiling bundle measured: its times "
                f"there are "
                "extrapolated"
            )
    if len(aligned.real) == 1:
        notes.append(
            "there is one real run, so no noise is known: repeat it to see whether an error is real"
        )
    return notes


def _run_meta(
    comparison_id: str,
    inputs: ComparisonInputs,
    aligned: Aligned,
    findings: Findings,
    config: ExperimentConfig,
    started_at: str,
    overridden: list[str],
    listed: list[str],
    notes: tuple[str, ...],
) -> ComparisonMeta:
    first = aligned.real[0].run.meta
    commit, dirty = git_state()
    load = [
        float(((series.last_ns - aligned.grid.arrival_ns).sum() / 1e9) / series.duration_s)
        for series in aligned.real
    ]
    return ComparisonMeta(
        run_id=comparison_id,
        model=first.model,
        hardware=first.hardware,
        backend=first.backend,
        workload_id=first.workload_id,
        workload_sha256=first.workload_sha256,
        started_at=started_at,
        ended_at=utc_now(),
        git_commit=commit,
        git_dirty=dirty,
        env=environment(),
        workload_dir=first.workload_dir,
        primary_simulation=findings.primary_simulation,
        simulations=tuple(series.label for series in aligned.simulated),
        real_run_ids=tuple(series.run.meta.run_id for series in aligned.real),
        inputs=tuple(
            _input(directory) for directory in (*inputs.real_run_dirs, *inputs.sim_run_dirs)
        ),
        overridden=tuple(overridden),
        listed_mismatches=tuple(listed),
        notes=notes,
        completeness=tuple(
            Completeness.model_validate(row) for row in aligned.completeness.to_dict("records")
        ),
        mean_running_requests=sum(load) / len(load),
        host_time_ratio={
            row.run_id: row.host_time_ratio for row in findings.tables["host_speed"].itertuples()
        },
        confidence_pct=config.comparison.confidence_pct,
    )


def _input(directory: Path) -> ComparedInput:
    return ComparedInput(
        path=str(directory),
        name=directory.name,
        run_meta_sha256=file_sha256(directory / RUN_META_FILE),
    )
