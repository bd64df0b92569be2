"""Whether two data roots hold the same numbers: for a change that should move none.

    GPU_TIMING_DATA_ROOT=/tmp/before make reference     # at the commit before the change
    GPU_TIMING_DATA_ROOT=/tmp/after make reference      # after it, on the same machine
    python benchmarks/same_numbers.py /tmp/before /tmp/after --was engine_loop=engine

Every simulated table, and every table, figure, timeline and summary of every comparison, is held
against its counterpart, byte for byte, once the new names of `--was new=old` are read as the old
ones. Prints what differs and exits with 1, or how many files are the same and exits with 0.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

COMPARED = (
    "workloads/*/trace_*.csv",
    "vidur_runs/*/*.csv",
    "comparisons/*/tables/*.csv",
    "comparisons/*/summary.md",
    "comparisons/*/timeline.json",
    "comparisons/*/figs/*.svg",
)


def files(root: Path) -> Iterator[Path]:
    for pattern in COMPARED:
        yield from (path.relative_to(root) for path in sorted(root.glob(pattern)))


def with_old_names(text: str, names: dict[str, str]) -> str:
    for new, old in names.items():
        text = re.sub(rf"(?<![\w]){re.escape(new)}(?![\w])", lambda _, old=old: old, text)
    return text


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--was", action="append", default=[], metavar="NEW=OLD")
    parser.add_argument("--skip", action="append", default=[], metavar="FILE", help="by its name")
    arguments = parser.parse_args(words)
    names = dict(renamed.split("=", 1) for renamed in arguments.was)
    before = {str(path): path for path in files(arguments.before)}
    after = {with_old_names(str(path), names): path for path in files(arguments.after)}
    problems = [f"only in {arguments.before}: {name}" for name in sorted(before.keys() - after)]
    problems += [f"only in {arguments.after}: {name}" for name in sorted(after.keys() - before)]
    roots = {str(arguments.after.resolve()): str(arguments.before.resolve())}
    same = 0
    for name in sorted(before.keys() & after.keys()):
        if Path(name).name in arguments.skip:
            continue
        old = (arguments.before / before[name]).read_text(encoding="utf-8")
        new = (arguments.after / after[name]).read_text(encoding="utf-8")
        new = with_old_names(new.replace(*next(iter(roots.items()))), names)
        if old == new:
            same += 1
        else:
            problems.append(f"differs: {name}: {_first_difference(old, new)}")
    print("\n".join(problems) if problems else f"{same} files are the same")
    return 1 if problems else 0


def _first_difference(old: str, new: str) -> str:
    lines = zip(old.splitlines(), new.splitlines(), strict=False)
    for number, (one, two) in enumerate(lines, start=1):
        if one != two:
            return f"line {number}: {one[:160]!r} became {two[:160]!r}"
    return "one is longer"


if __name__ == "__main__":
    sys.exit(main())
