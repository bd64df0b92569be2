"""A target measured several times: how far apart do the predictions of its bundles lie?"""

import shutil
from collections.abc import Sequence
from pathlib import Path

from gpu_timing_assets.config.experiment import ExperimentConfig
from gpu_timing_assets.core.bundle import BUNDLE_META_FILE, Repeatability
from gpu_timing_assets.core.directories import atomic_directory
from gpu_timing_assets.core.errors import PresetError, ProfilingBundleError
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.tables.schemas import BURST_REQUESTS, BURST_STEPS
from gpu_timing_assets.engine_loop.bundle import Bundle, read_bundle
from gpu_timing_assets.engine_loop.fit.engine import fit_engine_timing
from gpu_timing_assets.engine_loop.fit.rows import HELD_OUT
from gpu_timing_assets.engines.child_process import Launcher, subprocess_launcher
from gpu_timing_assets.measure.profiling import measure_bundle
from gpu_timing_assets.measure.profiling.self_test import simulated_figures

# of a bundle's metadata: what all bundles must share to be measurements of one thing
IDENTITY = (
    *("model", "model_dimensions", "hardware", "device_name", "engine", "engine_version"),
    *("tensor_parallel_size", "bundle_config_sha256"),
)


def run_repeatedly(
    config: ExperimentConfig,
    root: Path,
    times: int,
    *,
    launch: Launcher = subprocess_launcher,
    force: bool = False,
) -> Repeatability:
    """Measure the target's bundle into `root` and, `times` − 1 times more, into
    `<root>--repeat-2`, …, each as `measure_bundle.run` does. How far their predictions lie apart
    is filed in the first one's `bundle_meta.json`.

    Raises `PresetError` for fewer than two times, what `measure_bundle.run` raises, and
    `ProfilingBundleError` for a bundle that fails its self-test or differs from the first in what
    it was measured of.
    """
    if times < 2:
        raise PresetError(f"--repeat {times} repeats nothing: give 2 or more, or leave it away")
    bundles = []
    for one in repeat_roots(root, times):
        measure_bundle.run(config, one, launch=launch, force=force)
        bundles.append(read_bundle(one, config))
    found = repeatability(bundles)
    with atomic_directory(root) as scratch:
        shutil.copytree(root, scratch, dirs_exist_ok=True)
        meta = bundles[0].meta.model_copy(update={"repeatability": found})
        write_json(scratch / BUNDLE_META_FILE, meta)
    return found


def repeat_roots(root: Path, times: int) -> list[Path]:
    """`root` and those beside it."""
    return [root, *(root.with_name(f"{root.name}--repeat-{n}") for n in range(2, times + 1))]


def repeatability(bundles: Sequence[Bundle]) -> Repeatability:
    """How far apart the simulations of the first bundle's held-out bursts lie, each with the time
    model, and the engine's settings, of one bundle.

    Raises `ProfilingBundleError` naming two bundles that are not of the same thing.
    """
    for other in bundles[1:]:
        _check_same(bundles[0], other)
    requests = bundles[0].frames[BURST_REQUESTS]
    asked = requests[requests["kind"] == HELD_OUT]
    figures = []
    for bundle in bundles:
        kernels = bundle.kernel_times()
        bursts = bundle.frames[BURST_STEPS], bundle.frames[BURST_REQUESTS]
        timing = fit_engine_timing(*bursts, bundle.params, kernels)
        figures.append(simulated_figures(asked, bundle.params, kernels, timing))
    return Repeatability(
        measured_at=tuple(bundle.meta.measured_at for bundle in bundles),
        spread_pct={name: _spread_pct([each[name] for each in figures]) for name in figures[0]},
    )


def _spread_pct(values: Sequence[float]) -> float:
    return round(100 * (max(values) - min(values)) / (sum(values) / len(values)), 2)


def _check_same(first: Bundle, other: Bundle) -> None:
    def identity(bundle: Bundle) -> dict[str, object]:
        known = {name: getattr(bundle.meta, name) for name in IDENTITY}
        return {**known, "native_library": bundle.params.native_library}

    ours, theirs = identity(first), identity(other)
    differing = [
        f"{name}: {ours[name]} and {theirs[name]}" for name in ours if ours[name] != theirs[name]
    ]
    if differing:
        raise ProfilingBundleError(
            f"{first.root} and {other.root} were not measured of the same thing "
            f"({'; '.join(differing)}): measure both anew with `vidur-profile --repeat 2 --force`"
        )
