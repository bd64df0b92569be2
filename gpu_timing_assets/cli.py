"""The commands, without Dagster: `workload-spec`, `real-bench`, `vidur-profile`, `vidur-sim`,
`compare-runs`.

Each takes Hydra overrides (`real-bench workload=chat_poisson hardware=h100 backend=vllm`) and
prints where its result lies. They also run as `python -m gpu_timing_assets.cli real-bench …`, where
the project is not installed.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gpu_timing_assets.config.experiment import (
    GROUPS,
    ExperimentConfig,
    compose,
    load_snapshot,
    preset_names,
)
from gpu_timing_assets.config.settings import load_settings
from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.core.errors import PresetError, ProfilingBundleError
from gpu_timing_assets.core.workload import said_of_source
from gpu_timing_assets.stage_inputs import comparison_inputs, sim_inputs

if TYPE_CHECKING:
    from gpu_timing_assets.core.bundle import BundleMeta

Command = Callable[[ExperimentConfig, argparse.Namespace], list[str]]


def main() -> None:
    """Run the command that this program is called, or else the one that its first word names."""
    name, *words = (Path(sys.argv[0]).name, *sys.argv[1:])
    if name not in COMMANDS:
        name, *words = words or [""]
    if name not in COMMANDS:
        commands = ",".join(COMMANDS)
        usage = f"usage: python -m gpu_timing_assets.cli {{{commands}}} [key=value …]"
        print(usage, file=sys.stderr)
        sys.exit(2)
    sys.exit(run_command(name, words))


def run_command(name: str, words: Sequence[str]) -> int:
    """Run one command and return its exit code; a fault is one line on stderr."""

    def work() -> int:
        arguments = _parser(name).parse_intermixed_args(list(words))
        for line in COMMANDS[name](_configuration(arguments), arguments):
            print(line)
        return 0

    return run_to_exit_code(name, work)


def _configuration(arguments: argparse.Namespace) -> ExperimentConfig:
    if arguments.from_run is None:
        quick = ["profiling=quick"] if getattr(arguments, "quick", False) else []
        given = getattr(arguments, "workload", None)
        for override in arguments.overrides if given else ():
            if override.lstrip("+~").startswith(("workload=", "workload.")):
                raise PresetError(f"--workload {given} is the workload: leave {override!r} away")
        config = compose([*load_settings().target, *arguments.overrides, *quick])
        if real := getattr(arguments, "real", None):
            return _of_measurement(config, real[0], arguments.overrides)
        return _with_workload(config, given)
    if arguments.overrides:
        raise PresetError(
            f"--from-run takes the configuration as it was: {arguments.overrides[0]!r} cannot be "
            "added (leave --from-run away and give overrides, or the other way round)"
        )
    if getattr(arguments, "workload", None):
        raise PresetError("--from-run brings its workload: leave it or --workload away")
    return load_snapshot(arguments.from_run)


def _with_workload(config: ExperimentConfig, directory: Path | None) -> ExperimentConfig:
    """The configuration with the preset that made the workload in `directory`."""
    if directory is None:
        return config
    return config.model_copy(update={"workload": load_snapshot(directory).workload})


def _of_measurement(
    config: ExperimentConfig, real_run: Path, overrides: Sequence[str]
) -> ExperimentConfig:
    """What the real run in a directory was made with; only how it is compared is chosen here."""
    for override in overrides:
        if not override.lstrip("+~").startswith(("comparison", "data_root=")):
            raise PresetError(f"--real {real_run} says what was measured: leave {override!r} away")
    measured = load_snapshot(real_run)
    chosen = {"comparison": config.comparison, "data_root": config.data_root}
    return measured.model_copy(update=chosen)


def _parser(name: str) -> argparse.ArgumentParser:
    presets = "\n".join(f"  {group:<12}{', '.join(preset_names(group))}" for group in GROUPS)
    parser = argparse.ArgumentParser(
        prog=name,
        description=COMMANDS[name].__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=f"presets, as group=preset:\n{presets}\n\n"
        "keys, as group.key=value: backend.max_num_seqs=8",
    )
    add = parser.add_argument
    add("overrides", nargs="*", metavar="key=value", help="Hydra overrides of the presets")
    again = "run again with the configuration that made DIR"
    add("--from-run", type=Path, metavar="DIR", help=again)
    if name in ("real-bench", "vidur-sim"):
        add("--workload", type=Path, metavar="DIR", help="the workload in DIR, whatever its name")
    if name == "vidur-sim":
        add("--bundle", type=Path, metavar="DIR", help="the profiling bundle in DIR")
    if name == "compare-runs":
        real = "the real runs in these directories, repeats of one workload"
        add("--real", type=Path, nargs="+", metavar="DIR", help=real)
        simulated = "the simulations of it in these directories, this project's or one's own"
        add("--simulated", type=Path, nargs="+", metavar="DIR", help=simulated)
    if name == "real-bench":
        in_turn = "replay these one after another in one engine start"
        add("--workloads", metavar="A,B,C", help=in_turn)
    if name == "vidur-profile":
        small = "measure small grids (the same as profiling=quick)"
        add("--quick", action="store_true", help=small)
        add("--force", action="store_true", help="measure again even if a valid bundle is there")
        repeat = "measure the target N times and say how far the bundles' predictions lie apart"
        add("--repeat", type=int, metavar="N", help=repeat)
    return parser


def _workload_spec(config: ExperimentConfig, arguments: argparse.Namespace) -> list[str]:
    """Make a workload: prompts as token counts, and when each arrives."""
    from gpu_timing_assets import workload

    directory = config.data.workload_dir(config.workload.workload_id)
    meta = workload.run(config, directory)
    return [
        f"{meta.num_requests} requests, {meta.num_prefill_tokens} prompt and "
        f"{meta.num_decode_tokens} output tokens, over {meta.duration_ns / 1e9:.1f} s",
        *said_of_source(meta),
        f"workload: {directory}",
    ]


def _real_bench(config: ExperimentConfig, arguments: argparse.Namespace) -> list[str]:
    """Replay workloads against the real engine, in one start of it."""
    from gpu_timing_assets.measure import real_bench

    workload_ids = [config.workload.workload_id]
    if arguments.workloads:
        workload_ids = [name.strip() for name in arguments.workloads.split(",")]
    if len(set(workload_ids)) < len(workload_ids):
        raise PresetError(
            f"--workloads names a workload twice: {arguments.workloads} (hardware.repeats says "
            "how often each is replayed)"
        )
    if arguments.workload and arguments.workloads:
        raise PresetError("--workload and --workloads both say what to replay: give one of them")
    directories = tuple(map(config.data.workload_dir, workload_ids))
    if arguments.workload:
        directories = (arguments.workload,)
    inputs = real_bench.RealBenchInputs(directories)
    result = real_bench.run(config, inputs, config.data.real_runs)
    return [f"real run: {directory}" for directory in result.run_dirs]


def _vidur_profile(config: ExperimentConfig, arguments: argparse.Namespace) -> list[str]:
    """Measure the profiling bundle of a target, or reuse a valid one."""
    from gpu_timing_assets.measure import profiling

    root = config.profiling_root
    if arguments.repeat is None:
        return profiled(profiling.run(config, root, force=arguments.force), root)
    found = profiling.run_repeatedly(config, root, arguments.repeat, force=arguments.force)
    spread = ", ".join(f"{name} {pct:.2f} %" for name, pct in found.spread_pct.items())
    return [
        f"{arguments.repeat} bundles predict the same bursts within: {spread}",
        f"profiling root: {root}",
    ]


def profiled(meta: "BundleMeta", root: Path) -> list[str]:
    """What is said of a bundle that was measured, or reused.

    Raises `ProfilingBundleError` if nothing may be simulated from it.
    """
    if meta.refusal:
        raise ProfilingBundleError(
            f"{root}: {meta.refusal}: nothing will be simulated from it; run the command again "
            "while nothing else runs on this machine"
        )
    return [f"profiling root: {root}"]


def _vidur_sim(config: ExperimentConfig, arguments: argparse.Namespace) -> list[str]:
    """Simulate a workload, with the target's profiling bundle."""
    from gpu_timing_assets import simulators, workload

    wanted = arguments.workload or config.data.workload_dir(config.workload.workload_id)
    said = []
    if arguments.workload is None and not wanted.exists():
        # its preset decides every byte of it
        workload.run(config, wanted)
        said.append(f"workload: {wanted}")
    directory = config.data.sim_run_dir(config.sim_run_id)
    simulators.run(config, sim_inputs(config, wanted, arguments.bundle), directory)
    return [*said, f"simulated run: {directory}"]


def _compare_runs(config: ExperimentConfig, arguments: argparse.Namespace) -> list[str]:
    """Hold all simulations of a workload against all real runs of it, on one target."""
    from gpu_timing_assets import compare

    if bool(arguments.real) != bool(arguments.simulated):
        raise PresetError("--real and --simulated are the two sides of a comparison: give both")
    directory = config.data.comparison_dir(config.comparison_id)
    inputs = (
        compare.ComparisonInputs(tuple(arguments.real), tuple(arguments.simulated))
        if arguments.real
        else comparison_inputs(config)
    )
    compare.run(config, inputs, directory)
    return _show_comparison(config, arguments)


def _show_comparison(config: ExperimentConfig, arguments: argparse.Namespace) -> list[str]:
    """Print the error table of a comparison that exists, and where its report lies."""
    from gpu_timing_assets import compare

    result = compare.load_result(config.data.comparison_dir(config.comparison_id))
    return [compare.error_table_markdown(result), f"report: {result.report}"]


COMMANDS: dict[str, Command] = {
    "workload-spec": _workload_spec,
    "real-bench": _real_bench,
    "vidur-profile": _vidur_profile,
    "vidur-sim": _vidur_sim,
    "compare-runs": _compare_runs,
    "show-comparison": _show_comparison,
}

if __name__ == "__main__":
    main()
