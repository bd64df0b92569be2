"""The same preset gives the same bytes: for ever, in any process, under any NumPy.

A golden hash that changes is a broken promise to everybody who has a run of that workload. If the
change is meant, raise `GENERATOR_VERSION` together with the hashes.
"""

import functools
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gpu_timing_assets.config.experiment import compose
from gpu_timing_assets.config.workload import WorkloadPreset
from gpu_timing_assets.core.data_root import PROJECT_ROOT
from gpu_timing_assets.core.files import config_sha256
from gpu_timing_assets.core.prompts import prompt_token_ids
from gpu_timing_assets.workload import run
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.tokenizer import WorkloadTokenizer, load_tokenizer

# the oldest that the installed pandas runs with
OTHER_NUMPY = "2.0.2"
COUNT = 5_000

ARRIVALS: dict[str, tuple[dict[str, Any], str]] = {
    "poisson": ({"kind": "poisson", "rate_per_s": 4}, "51a2276109d40091"),
    "gamma_bursty": ({"kind": "gamma", "rate_per_s": 4, "cv": 2.5}, "cedb69c1eebfa2a7"),
    "gamma_smooth": ({"kind": "gamma", "rate_per_s": 4, "cv": 0.5}, "aa1b71fa8453ea8c"),
    "constant": ({"kind": "constant", "rate_per_s": 3}, "227b48c01d40fae1"),
    "all_at_once": ({"kind": "all_at_once"}, "e7e2dcff542de953"),
    "ramp": (
        {"kind": "ramp", "from_rate_per_s": 1, "to_rate_per_s": 50, "ramp_s": 60},
        "b7659efaabd9bc48",
    ),
    "steps": (
        {
            "kind": "steps",
            "steps": [{"rate_per_s": 1, "duration_s": 9}, {"rate_per_s": 7, "duration_s": 9}],
        },
        "eb3f16c14f390b32",
    ),
    "on_off": (
        {"kind": "on_off", "on_rate_per_s": 40, "off_rate_per_s": 1, "on_s": 2, "off_s": 3},
        "83f59a98e54ee08e",
    ),
    "on_off_random": (
        {"kind": "on_off", "on_rate_per_s": 40, "on_s": 2, "off_s": 3, "random_phases": True},
        "a67c016844e83a9e",
    ),
    "closed_loop": ({"kind": "closed_loop", "users": 7, "think_time_s": 1.5}, "2b6c30443a7338bb"),
}
LENGTHS: dict[str, tuple[dict[str, Any], str]] = {
    "fixed": ({"kind": "fixed", "tokens": 9}, "19f5b117913e5a7a"),
    "uniform": ({"kind": "uniform", "minimum": 3, "maximum": 999}, "45c3af08804b740c"),
    "lognormal": (
        {"kind": "lognormal", "median": 256, "sigma": 0.9, "minimum": 16, "maximum": 2048},
        "e4067d7b493c0b89",
    ),
    "zipf": ({"kind": "zipf", "exponent": 1.2, "minimum": 2, "maximum": 5000}, "05672a46be50ea24"),
    "empirical": (
        {
            "kind": "empirical",
            "trace": {"format": "plain", "path": "observed.csv"},
            "column": "num_prefill_tokens",
        },
        "f5acc7c2ebfccf4e",
    ),
}
TOKENS = "6c0f892dc16ae44e"
WORKLOADS = {
    "smoke": "4f270ebd74b85770",
    "chat_poisson": "4ac1a4b809ca0d3b",
    "mix_rate_10": "a15dc434bfb8d3ac",
}
# of the preset without its defaults
PRESETS = {
    "smoke": "3ed2bc641f202474",
    "chat_poisson": "b6a5cd371e47c9d8",
    "mix_rate_10": "1d7a8a3c44c444aa",
    "code_low": "c5de0e53dcbd87eb",
    "long_context_high": "f3f7de9f65e7b8fc",
}


def sha256(values: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(values, dtype="<i8").tobytes()).hexdigest()[:16]


@functools.cache
def tokenizer() -> WorkloadTokenizer:
    return load_tokenizer()


def context_of(root: Path, **parts: dict[str, Any]) -> DrawContext:
    """A workload of seed 42 with those parts, which may read what lies below `root`."""
    preset = {
        "workload_id": "golden",
        "seed": 42,
        "source": {"kind": "synthetic"},
        "prefill_lengths": {"kind": "fixed", "tokens": 1},
        "decode_lengths": {"kind": "fixed", "tokens": 1},
        "arrivals": {"kind": "all_at_once"},
        "num_requests": COUNT,
    }
    return DrawContext(WorkloadPreset.model_validate({**preset, **parts}), tokenizer(), root)


def arrivals_of(process: dict[str, Any], root: Path) -> Any:
    context = context_of(root, arrivals=process)
    drawn = context.preset.arrivals.arrivals(context, COUNT)
    if drawn.closed_loop is None:
        return drawn.times_ns
    return np.stack([drawn.closed_loop.user_id, drawn.closed_loop.think_time_ns, drawn.times_ns])


def lengths_of(process: dict[str, Any], root: Path) -> Any:
    if process["kind"] == "empirical":
        rows = "".join(f"{tokens},1\n" for tokens in range(1, 78))
        observed = root / "observed.csv"
        observed.write_text(f"num_prefill_tokens,num_decode_tokens\n{rows}")
        process = {**process, "trace": {"format": "plain", "path": str(observed)}}
    context = context_of(root, decode_lengths=process)
    assert context.preset.decode_lengths is not None
    return context.preset.decode_lengths.draw(context.stream("lengths"), COUNT, context)


def tokens() -> list[int]:
    return prompt_token_ids(
        12_345,
        2_000,
        151_643,
        special_token_ids=[0, 11],
        block_ids=[7, 8, 7],
        block_size_tokens=512,
    )


def workload_hash(name: str, root: Path) -> str:
    config = compose([f"workload={name}", f"data_root={root}"])
    return run(config, config.data.workload_dir(name)).workload_sha256[:16]


def all_hashes(root: Path) -> dict[str, str]:
    """Every hash in this file, as it is here and now."""
    root.mkdir(exist_ok=True)
    return {
        **{
            f"arrivals {name}": sha256(arrivals_of(process, root))
            for name, (process, _) in ARRIVALS.items()
        },
        **{
            f"lengths {name}": sha256(lengths_of(process, root))
            for name, (process, _) in LENGTHS.items()
        },
        **{f"workload {name}": workload_hash(name, root) for name in WORKLOADS},
        "tokens": sha256(tokens()),
    }


@pytest.mark.parametrize(("process", "golden"), ARRIVALS.values(), ids=ARRIVALS)
def test_arrivals_are_those_that_they_always_were(
    process: dict[str, Any], golden: str, tmp_path: Path
) -> None:
    assert sha256(arrivals_of(process, tmp_path)) == golden


@pytest.mark.parametrize(("process", "golden"), LENGTHS.values(), ids=LENGTHS)
def test_lengths_are_those_that_they_always_were(
    process: dict[str, Any], golden: str, tmp_path: Path
) -> None:
    assert sha256(lengths_of(process, tmp_path)) == golden


def test_prompt_tokens_are_those_that_they_always_were() -> None:
    assert sha256(tokens()) == TOKENS


@pytest.mark.parametrize(("name", "golden"), WORKLOADS.items())
def test_a_committed_workload_is_the_one_that_it_always_was(
    name: str, golden: str, tmp_path: Path
) -> None:
    assert workload_hash(name, tmp_path) == golden


@pytest.mark.parametrize(("name", "golden"), PRESETS.items())
def test_a_committed_preset_has_the_identity_that_it_always_had(name: str, golden: str) -> None:
    """What a directory was made from is held against this: another hash would refuse it."""
    preset = compose([f"workload={name}"]).workload
    assert config_sha256(preset.model_dump(mode="json", exclude_defaults=True))[:16] == golden


def test_another_process_writes_the_same_bytes(tmp_path: Path) -> None:
    config = compose(["workload=chat_poisson", f"data_root={tmp_path / 'here'}"])
    here = config.data.workload_dir("chat_poisson")
    run(config, here)
    code = (
        "import sys; from gpu_timing_assets import workload; from "
        "gpu_timing_assets.config.experiment import compose; "
        "config = compose(['workload=chat_poisson', 'data_root=' + sys.argv[1]]); "
        "workload.run(config, config.data.workload_dir('chat_poisson'))"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "there")],
        check=True,
        cwd=PROJECT_ROOT,
        env={
            **os.environ,
            "PYTHONHASHSEED": "77",
            "OMP_NUM_THREADS": "2",
            "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3",
        },
    )
    for name in (
        "trace_lengths.csv",
        "trace_intervals.csv",
        "prompts.jsonl",
        "prompt_token_ids.jsonl",
    ):
        assert (tmp_path / "there" / "workloads" / "chat_poisson" / name).read_bytes() == (
            here / name
        ).read_bytes()


def test_changing_the_lengths_does_not_change_the_arrivals_nor_the_other_way_round(
    tmp_path: Path,
) -> None:
    def made(*overrides: str) -> tuple[bytes, bytes]:
        config = compose(["workload=mix_rate_10", f"data_root={tmp_path}", *overrides])
        out = tmp_path / str(len(list(tmp_path.iterdir())))
        run(config, out)
        return (out / "trace_lengths.csv").read_bytes(), (out / "trace_intervals.csv").read_bytes()

    lengths, arrivals = made()
    other_lengths, same_arrivals = made("workload.prefill_lengths.median=99")
    same_lengths, other_arrivals = made(
        "workload.arrivals.rate_per_s=9",
        "workload.duration_s=null",
        f"+workload.num_requests={len(lengths.splitlines()) - 1}",
    )
    assert same_arrivals == arrivals
    assert other_lengths != lengths
    assert same_lengths == lengths
    assert other_arrivals != arrivals


def test_another_seed_is_another_workload(tmp_path: Path) -> None:
    metas = [
        run(
            compose(["workload=smoke", "+workload.source.order=shuffled", f"workload.seed={seed}"]),
            tmp_path / str(seed),
        )
        for seed in (1, 2)
    ]
    assert metas[0].workload_sha256 != metas[1].workload_sha256


def test_another_numpy_draws_the_same(tmp_path: Path) -> None:
    """The whole stage in a child process under another NumPy."""
    uv = Path(sys.executable).with_name("uv")
    if not uv.is_file():
        pytest.skip("there is no uv beside the interpreter to install another NumPy with")
    installed = subprocess.run(
        [
            str(uv),
            "pip",
            "install",
            "-q",
            "--python",
            sys.executable,
            "--no-deps",
            "--target",
            str(tmp_path),
            f"numpy=={OTHER_NUMPY}",
        ],
        capture_output=True,
        text=True,
    )
    if installed.returncode != 0:
        pytest.skip(
            f"numpy {OTHER_NUMPY} cannot be installed here: {installed.stderr.strip()[-200:]}"
        )
    code = (
        "import json, sys, pathlib; sys.path[:0] = sys.argv[1:]; import numpy; "
        "import test_workload_spec_determinism as this; "
        "print(json.dumps([numpy.__version__, this.all_hashes(pathlib.Path(sys.argv[1], 'data'))]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(PROJECT_ROOT), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    version, hashes = json.loads(done.stdout)
    assert version == OTHER_NUMPY != np.__version__
    assert hashes == {
        **{f"arrivals {name}": golden for name, (_, golden) in ARRIVALS.items()},
        **{f"lengths {name}": golden for name, (_, golden) in LENGTHS.items()},
        **{f"workload {name}": golden for name, golden in WORKLOADS.items()},
        "tokens": TOKENS,
    }
