"""A small world of files that every command reads: made once, spoilt one file at a time, healed."""

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gpu_timing_assets import simulators
from gpu_timing_assets.compare.findings import judge_and_explain
from gpu_timing_assets.compare.gate.admission import admit
from gpu_timing_assets.compare.gate.align import align
from gpu_timing_assets.compare.gate.copies import refuse_copies
from gpu_timing_assets.compare.gate.load import load_run, read_metas, simulation_labels
from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.comparison import ComparisonInputs
from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.manifest import MANIFEST_FILE, write_manifest
from gpu_timing_assets.core.run import RUN_META_FILE, SimRunMeta, read_complete_run
from gpu_timing_assets.core.tables.invariants import read_run_tables, read_workload_tables
from gpu_timing_assets.core.tables.run_tables import run_tables_from_token_times
from gpu_timing_assets.core.tables.schemas import (
    ENGINE_BATCHES,
    ENGINE_STEPS,
    REQUEST_METRICS,
    TOKEN_METRICS,
)
from gpu_timing_assets.metrics.registry import all_metrics
from gpu_timing_assets.simulators.base import SimInputs
from gpu_timing_assets_tests.unit.compare.synthetic_runs import facts_of, real_meta
from gpu_timing_assets_tests.unit.simulators.synthetic_bundle import (
    target_config,
    write_bundle,
    write_workload,
)

PREFILL, DECODE = [20, 40, 33, 90, 8, 60], [12, 6, 20, 5, 30, 9]
ARRIVAL_MS = [0, 4, 9, 30, 31, 200]
NS_OF_REPEAT = 30_000

Figures = dict[str, bytes]


@dataclass(frozen=True)
class World:
    """Directories below a data root, all filed with manifests; `out` is what commands write."""

    config: ExperimentConfig
    out: Path

    @property
    def workload(self) -> Path:
        return self.config.data.workload_dir("tiny")

    @property
    def bundle(self) -> Path:
        return self.config.profiling_root

    @property
    def sim_run(self) -> Path:
        return self.config.data.sim_run_dir("tiny--sim")

    @property
    def real_runs(self) -> tuple[Path, ...]:
        return tuple(self.config.data.real_runs / f"tiny--r{repeat}" for repeat in range(2))

    def simulate(self) -> tuple[int, Figures]:
        """The exit code of `vidur-sim`, and the times that it files."""
        inputs, out = SimInputs(self.workload, self.bundle, None), self.out / "simulated"
        return _figures(
            "vidur-sim",
            out,
            lambda: simulators.run(self.config, inputs, out),
            (REQUEST_METRICS.file, TOKEN_METRICS.file),
        )

    def compare(self) -> tuple[int, Figures]:
        """The exit code of a comparison without its report, and its errors and verdicts."""
        inputs, found = ComparisonInputs(self.real_runs, (self.sim_run,)), {}

        def work() -> int:
            preset = self.config.comparison
            real_metas, sim_metas = read_metas(inputs, allow_invalid=False)
            admission = admit(real_metas, sim_metas, preset)
            real = [
                load_run(directory, meta, meta.run_id)
                for directory, meta in zip(self.real_runs, real_metas, strict=True)
            ]
            refuse_copies(real)
            label = simulation_labels(sim_metas)[admission.judged]
            aligned = align(real, [load_run(self.sim_run, sim_metas[0], label)])
            findings = judge_and_explain(aligned, all_metrics(), preset, judged=label)
            found["verdicts"] = repr(findings.verdicts).encode()
            return 0

        return run_to_exit_code("compare-runs", work), found


def _figures(
    command: str, out: Path, work: Callable[[], object], files: tuple[str, ...]
) -> tuple[int, Figures]:
    shutil.rmtree(out, ignore_errors=True)

    def to_the_end() -> int:
        work()
        return 0

    code = run_to_exit_code(command, to_the_end)
    return code, {name: (out / name).read_bytes() for name in files if (out / name).is_file()}


def make_world(folder: Path) -> World:
    config = target_config(folder / "data", "comparison.bootstrap_resamples=100")
    world = World(config, folder / "out" / "results")
    world.out.mkdir(parents=True)
    write_bundle(world.bundle, config)
    write_workload(world.workload, PREFILL, DECODE, ARRIVAL_MS)
    for directory in (world.bundle, world.workload):
        write_manifest(directory)
    simulators.run(config, SimInputs(world.workload, world.bundle, None), world.sim_run)
    for repeat, directory in enumerate(world.real_runs):
        _write_real_run(world, directory, repeat)
    return world


def _write_real_run(world: World, directory: Path, repeat: int) -> None:
    """The simulated run as an engine would have made it: its answers arrive a little later."""
    simulated = read_complete_run(world.sim_run, SimRunMeta)
    _, tokens = read_run_tables(world.sim_run)
    lengths, arrivals = read_workload_tables(world.workload)
    owner = tokens["request_id"].to_numpy()
    later_ns = (owner % 3 + 1 + repeat) * NS_OF_REPEAT
    requests, tokens = run_tables_from_token_times(
        lengths,
        arrivals["arrival_time_ns"].to_numpy(),
        owner,
        tokens["token_time_ns"].to_numpy(dtype=np.int64) + later_ns,
    )
    directory.mkdir(parents=True)
    REQUEST_METRICS.write(requests, directory)
    TOKEN_METRICS.write(tokens, directory)
    for table in (ENGINE_STEPS, ENGINE_BATCHES):
        table.write(table.read(world.sim_run), directory)
    same = ("model", "hardware", "backend", "workload_id", "workload_sha256", "params")
    facts = {name: getattr(simulated, name) for name in same}
    meta = real_meta(directory.name, **facts, **facts_of(requests, "real"), repeat=repeat)
    write_json(directory / RUN_META_FILE, meta)
    write_manifest(directory)


@contextmanager
def spoilt(directory: Path, name: str, content: bytes, *, listed_again: bool) -> Iterator[None]:
    """Another content in a file of `directory` for the block; `listed_again`: its manifest says so,
    as that of a sender who changed it would.
    """
    before = {file: (directory / file).read_bytes() for file in (name, MANIFEST_FILE)}
    _put(directory / name, content)
    if listed_again:
        write_manifest(directory)
    try:
        yield
    finally:
        for file, healthy in before.items():
            _put(directory / file, healthy)


def _put(path: Path, content: bytes) -> None:
    """A new file each time: what is hashed is known by its inode and time."""
    fresh = path.with_name(f".{path.name}.fresh")
    fresh.write_bytes(content)
    os.replace(fresh, path)
