"""One comparison, from the runs' directories to the report's: gate, align, judge, explain, show."""

from pathlib import Path

from gpu_timing_assets.compare.caveats import Caveats, caveats
from gpu_timing_assets.compare.explain.host_speed import HOST_SPEED
from gpu_timing_assets.compare.findings import Findings, judge_and_explain
from gpu_timing_assets.compare.gate.admission import admit
from gpu_timing_assets.compare.gate.align import Aligned, align
from gpu_timing_assets.compare.gate.completeness import COMPLETENESS
from gpu_timing_assets.compare.gate.copies import refuse_copies
from gpu_timing_assets.compare.gate.load import load_run, read_metas, simulation_labels
from gpu_timing_assets.compare.gate.settings import PARITY, settings_table
from gpu_timing_assets.compare.gate.single_request import refuse_single_request_backend
from gpu_timing_assets.compare.show.report import write_report
from gpu_timing_assets.compare.show.timeline import write_timeline
from gpu_timing_assets.compare.show.write_tables import write_tables
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.comparison import (
    TIMELINE_FILE,
    ComparisonInputs,
    ComparisonResult,
    load_result,
)
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.files import CONFIG_FILE, file_sha256, write_json
from gpu_timing_assets.core.provenance import environment, git_state, utc_now
from gpu_timing_assets.core.run import RUN_META_FILE, ComparedInput, ComparisonMeta, Completeness
from gpu_timing_assets.metrics.registry import all_metrics

WORK_AND_TARGET = {
    *("model", "hardware", "backend", "workload_id", "workload_sha256", "workload_dir")
}


def compare(config: ExperimentConfig, inputs: ComparisonInputs, out: Path) -> ComparisonResult:
    """See `gpu_timing_assets.compare.run`."""
    started_at = utc_now()
    preset = config.comparison
    real_metas, sim_metas = read_metas(inputs, allow_invalid=preset.allow_mismatch)
    admission = admit(real_metas, sim_metas, preset)
    labels = simulation_labels(sim_metas)
    real_runs = [
        load_run(directory, meta, meta.run_id)
        for directory, meta in zip(inputs.real_run_dirs, real_metas, strict=True)
    ]
    refuse_copies(real_runs)
    aligned = align(
        real_runs,
        [load_run(inputs.sim_run_dirs[at], sim_metas[at], labels[at]) for at in admission.admitted],
    )
    overridden = admission.overridden + refuse_single_request_backend(
        aligned, allow_mismatch=preset.allow_mismatch
    )
    findings = judge_and_explain(aligned, all_metrics(), preset, judged=labels[admission.judged])
    findings.tables[PARITY] = settings_table(real_metas, sim_metas, preset.kv_blocks_tolerance_pct)
    known = caveats(aligned, findings, admission, overridden, preset, inputs.unused)
    with atomic_directory(out) as scratch:
        write_tables(findings, scratch / "tables")
        write_json(scratch / CONFIG_FILE, config)
        write_report(scratch, out.name, aligned, findings, preset, known)
        write_timeline(
            scratch / TIMELINE_FILE, [aligned.real[0], aligned.simulation(findings.judged)]
        )
        meta = _run_meta(out.name, inputs, aligned, findings, known, config, started_at)
        write_json(scratch / RUN_META_FILE, meta)
    return load_result(out)


def _run_meta(
    comparison_id: str,
    inputs: ComparisonInputs,
    aligned: Aligned,
    findings: Findings,
    known: Caveats,
    config: ExperimentConfig,
    started_at: str,
) -> ComparisonMeta:
    first = aligned.real[0].run.meta
    commit, dirty = git_state()
    running = [
        float(((real.last_ns - aligned.grid.arrival_ns).sum() / 1e9) / real.duration_s)
        for real in aligned.real
    ]
    hosts = findings.tables[HOST_SPEED]
    return ComparisonMeta(
        run_id=comparison_id,
        **first.model_dump(include=WORK_AND_TARGET),
        started_at=started_at,
        ended_at=utc_now(),
        git_commit=commit,
        git_dirty=dirty,
        env=environment(),
        primary_simulation=findings.judged,
        simulations=tuple(simulation.label for simulation in aligned.simulated),
        real_run_ids=tuple(real.run.meta.run_id for real in aligned.real),
        inputs=tuple(
            ComparedInput(
                path=str(directory),
                name=directory.name,
                run_meta_sha256=file_sha256(directory / RUN_META_FILE),
            )
            for directory in (*inputs.real_run_dirs, *inputs.sim_run_dirs)
        ),
        unused_runs=inputs.unused,
        overridden=known.overridden,
        listed_mismatches=known.listed,
        notes=known.notes,
        completeness=tuple(
            Completeness.model_validate(row)
            for row in findings.tables[COMPLETENESS].to_dict("records")
        ),
        mean_running_requests=sum(running) / len(running),
        host_time_ratio=dict(zip(hosts["run_id"], hosts["host_time_ratio"], strict=True)),
        confidence_pct=config.comparison.confidence_pct,
    )
