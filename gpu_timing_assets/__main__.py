"""`python -m gpu_timing_assets doctor`: what this machine can run, what stands in its way, and what
to do about it.

Needs nothing but Python: before `make install` it judges the machine alone, after it the configured
target too.
"""

import argparse
import importlib.util
import sys
from collections.abc import Sequence

from gpu_timing_assets.core.edge import run_to_exit_code
from gpu_timing_assets.doctor.examination import examine, examine_machine
from gpu_timing_assets.doctor.findings import Finding, cannot


def main(words: Sequence[str]) -> int:
    """Print a line for each finding; 0 if nothing stands in the way, else the fault's exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m gpu_timing_assets", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("command", choices=["doctor"])
    parser.add_argument(
        "overrides", nargs="*", metavar="key=value", help="the target, as for the other commands"
    )
    parser.add_argument(
        "--for",
        dest="purpose",
        choices=["demo", "dev"],
        default="demo",
        help="what is about to be started",
    )
    parser.add_argument(
        "--device",
        choices=["cpu", "cuda"],
        default="cpu",
        help="before the installation: which is planned",
    )
    parser.add_argument("--quiet", action="store_true", help="only what is not ok")
    arguments = parser.parse_args(words)
    return run_to_exit_code("doctor", lambda: _show(arguments))


def _show(arguments: argparse.Namespace) -> int:
    findings = _examine(arguments)
    for finding in findings:
        if finding.verdict != "ok" or not arguments.quiet:
            print(finding.line)
    stopping = cannot(findings)
    return stopping[0].fault.exit_code if stopping else 0


def _examine(arguments: argparse.Namespace) -> list[Finding]:
    if not (importlib.util.find_spec("pydantic") and importlib.util.find_spec("hydra")):
        return examine_machine(arguments.device)
    from gpu_timing_assets.config.experiment import compose
    from gpu_timing_assets.config.settings import target_words

    return examine(compose([*target_words(), *arguments.overrides]), arguments.purpose)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
