"""What a release of vLLM offers of the names that this project needs, read from its sources without
importing them.

`python -m gpu_timing_assets_tests.unit.engines.read_surface <folder that holds vllm/> <version>`
writes `surfaces/vllm-<version>.json`: dotted name → its parameters, null for a name that is no
function.
"""

import ast
import json
import sys
from pathlib import Path

from gpu_timing_assets.engines.vllm.surface import required_names

SURFACES = Path(__file__).parent / "surfaces"
Surface = dict[str, list[str] | None]


def read_surface(sources: Path) -> Surface:
    names = {name for device in ("cpu", "cuda") for name in required_names(device)}
    return {
        name: found
        for name in sorted(names)
        if (found := _look_up(sources, name.split("."))) is not False
    }


def _look_up(sources: Path, parts: list[str]) -> list[str] | bool | None:
    """The parameters of a function, None of what is none, False if it is not there."""
    for end in range(len(parts) - 1, 0, -1):
        module = sources.joinpath(*parts[:end])
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if path.is_file():
                return _in_body(ast.parse(path.read_text()).body, parts[end:])
    return False


def _in_body(body: list[ast.stmt], names: list[str]) -> list[str] | bool | None:
    for node in ast.walk(ast.Module(body, [])):
        if isinstance(node, ast.ImportFrom) and any(
            (alias.asname or alias.name) == names[0] for alias in node.names
        ):
            return None
        if isinstance(node, ast.ClassDef) and node.name == names[0]:
            return None if len(names) == 1 else _in_body(node.body, names[1:])
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == names[0]:
            arguments = node.args
            return [
                argument.arg
                for argument in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)
            ]
    return False


if __name__ == "__main__":
    (SURFACES / f"vllm-{sys.argv[2]}.json").write_text(
        json.dumps(read_surface(Path(sys.argv[1])), indent=1) + "\n"
    )
