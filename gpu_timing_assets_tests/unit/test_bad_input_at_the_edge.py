"""Whatever is wrong with what a command is given, it says so in one line, without a traceback."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gpu_timing_assets.cli import run_command
from gpu_timing_assets.config import experiment
from gpu_timing_assets.core.comparison import VERDICT_TABLE
from gpu_timing_assets.core.data_root import RESOURCES
from gpu_timing_assets.core.edge import READER_GONE, UNEXPECTED, run_to_exit_code
from gpu_timing_assets.core.files import write_json
from gpu_timing_assets.core.run import RUN_META_FILE
from gpu_timing_assets_tests.unit.compare.synthetic_runs import comparison_meta

CARD: dict[str, Any] = json.loads(
    (RESOURCES / "model_cards" / "qwen3-tiny" / "config.json").read_text()
)
DEEP = "[" * 100_000
Refused = Callable[..., None]


@pytest.fixture(autouse=True)
def _settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GPU_TIMING_DATA_ROOT", str(tmp_path / "data"))
    monkeypatch.delenv("GPU_TIMING_TARGET", raising=False)


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """`refused(command, *words, says=…)`: it ends with one line that says so, and files nothing."""

    def refuse(command: str, *words: str, says: str = "") -> None:
        code = run_command(command, list(words))
        told = capsys.readouterr()
        assert code not in (0, UNEXPECTED), told.err
        assert told.err.count("\n") == 1
        assert len(told.err) < 2_000
        assert told.err.startswith(f"{command}: ")
        assert says in told.err

    return refuse


@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"{", b"[]", b"null", b'"x"', b"\xff\xfe{", DEEP.encode()),
        b'{"model_type": "qwen3", "model_type": "qwen3"}',
        {"model_type": "llama"},
        {"hidden_size": "wide"},
        {"hidden_size": 1.5},
        {"hidden_size": None},
        {"hidden_size": -1},
        {"max_position_embeddings": 0},
        {"vocab_size": 2**80},
        {"num_key_value_heads": 0},
        {"num_key_value_heads": 3},
    ],
    ids=str,
)
def test_a_bad_model_card(refused: Refused, tmp_path: Path, content: Any) -> None:
    card = tmp_path / "config.json"
    card.write_bytes(
        content if isinstance(content, bytes) else json.dumps({**CARD, **content}).encode()
    )
    refused("workload-spec", "workload=smoke", f"model.weights={tmp_path}", says=str(card))


def test_weights_that_are_not_there(refused: Refused) -> None:
    refused("workload-spec", "workload=smoke", "model.weights=/nowhere", says="/nowhere")


@pytest.mark.parametrize("content", [b"\xff", b"- a list", b"a: [", DEEP.encode(), b""])
@pytest.mark.parametrize("group", ["workload", "hardware", "backend"])
def test_a_bad_preset(
    refused: Refused,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    group: str,
    content: bytes,
) -> None:
    presets = shutil.copytree(experiment.PRESETS, tmp_path / "presets")
    monkeypatch.setattr(experiment, "PRESETS", presets)
    (presets / group / "mine.yaml").write_bytes(content)
    refused("workload-spec", "workload=smoke", f"{group}=mine", says="mine.yaml")


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", DEEP.encode(), b'{"a": NaN}'])
def test_a_bad_snapshot(refused: Refused, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_bytes(content)
    refused("workload-spec", "--from-run", str(tmp_path), says="config.json")


def test_a_data_root_that_is_a_file(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in ("file", "file/below"):
        refused("workload-spec", "workload=smoke", f"data_root={tmp_path / root}", says="file")


def test_a_data_root_that_is_a_loop_of_links(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    refused("workload-spec", "workload=smoke", f"data_root={tmp_path / 'loop'}", says="loop")


@pytest.mark.parametrize(
    "words",
    [
        ("data_root=/tmp/" + "x" * 300,),
        ("data_root=/tmp/" + "x/" * 5_000,),
        ("data_root=~nobody_of_this_name/x",),
        ("data_root=/proc/nowhere",),
        ("workload=" + "x" * 100_000,),
        ("workload.workload_id=" + "x" * 100_000,),
        ("x" * 100_000 + "=1",),
        ("workload.workload_id=\ud800",),
        ("hardware.repeats=" + "[" * 3_000 + "]" * 3_000,),
        (f"workload.num_requests={10**20}",),
    ],
    ids=lambda words: words[0][:30],
)
def test_a_word_that_is_none(refused: Refused, words: tuple[str, ...]) -> None:
    refused("workload-spec", *words)


def test_a_data_root_of_ones_home_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run_command("workload-spec", ["workload=smoke", "data_root=~/mine"]) == 0
    assert (tmp_path / "mine" / "workloads" / "smoke").is_dir()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("TARGET", "hardware='h100"), ("REPORTS_PORT", "none"), ("DAGSTER_PORT", "99999")],
)
def test_a_bad_setting(
    refused: Refused, monkeypatch: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    monkeypatch.setenv(f"GPU_TIMING_{variable}", value)
    refused("show-comparison", says=f"GPU_TIMING_{variable}=")


HEADER = "simulation,metric,statistic,unit,real,simulated,error_pct,low_pct,high_pct,noise_pct"
HEADER += ",prediction_noise_pct,verdict\n"
ROW = "s,ITL,p50,ms,1,1,0,0,0,0,,pass\n"


@pytest.mark.parametrize(
    "content",
    [
        *("", "a,b\n1,2\n", "\0", HEADER + "s,ITL\n", HEADER + ROW.replace("1,1", "1,x")),
        *(HEADER + ROW.replace("1,1", "inf,1"), HEADER + ROW.replace("pass", "passed")),
        *(HEADER + ROW.strip() + ",7\n", HEADER + '"' + "x" * 200_000, HEADER + "\udcff"),
    ],
    ids=lambda content: content[-20:].encode("utf-8", "backslashreplace").decode(),
)
def test_a_comparison_whose_table_is_damaged(
    refused: Refused, tmp_path: Path, content: str
) -> None:
    name = "smoke--qwen3-tiny--cpu--vllm"
    tables = tmp_path / "data" / "comparisons" / name / "tables"
    tables.mkdir(parents=True)
    values = {"primary_simulation": "s", "simulations": (), "real_run_ids": (), "inputs": ()}
    meta = comparison_meta(name, **{**values, "mean_running_requests": 1.0})
    write_json(tables.parent / RUN_META_FILE, meta)
    (tables / VERDICT_TABLE).write_bytes(content.encode("utf-8", "surrogateescape"))
    refused("show-comparison", "workload=smoke", "model=qwen3-tiny", says=VERDICT_TABLE)


def test_what_nobody_expected_is_one_line_with_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise RecursionError("half\na character: \ud800")

    assert run_to_exit_code("vidur-sim", work) == UNEXPECTED
    line = capsys.readouterr().err
    assert line.startswith("vidur-sim: RecursionError: half a character: \\ud800 (unexpected: open")
    assert line.count("\n") == 1
    log = Path(line.rsplit(" ", 1)[1].rstrip(")\n"))
    assert "Traceback" in log.read_text()
    log.unlink()


def test_an_interrupted_command_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    def work() -> int:
        raise KeyboardInterrupt

    assert run_to_exit_code("vidur-sim", work) == 130
    assert capsys.readouterr().err == "vidur-sim: interrupted\n"


def test_a_command_whose_output_nobody_reads_any_more_ends_without_a_word() -> None:
    code = (
        "from gpu_timing_assets.core.edge import run_to_exit_code\n"
        "raise SystemExit(run_to_exit_code('x', lambda: print('y' * 200_000) or 0))"
    )
    command = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert command.stdout is not None
    command.stdout.close()
    assert command.wait(60) == READER_GONE
    assert command.stderr is not None
    assert command.stderr.read() == b""
