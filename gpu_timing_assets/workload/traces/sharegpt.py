"""ShareGPT's conversations: texts, and no times."""

import json
from pathlib import Path
from typing import Any

from gpu_timing_assets.core.errors import WorkloadError
from gpu_timing_assets.workload.draw_context import DrawContext
from gpu_timing_assets.workload.input_files import read_input
from gpu_timing_assets.workload.requests import TextPrompt
from gpu_timing_assets.workload.trace_rows import TraceRows
from gpu_timing_assets.workload.traces.trace_format import TraceFormat

QUESTIONERS, ANSWERERS = ("human", "user"), ("gpt", "chatgpt", "bing", "bard", "assistant")


class ShareGptTrace(TraceFormat):
    """The first question of each conversation, and the length of its answer."""

    def read(self, path: Path, context: DrawContext) -> TraceRows:
        """Rows count conversations from 1, unusable if not begun by question and answer."""
        import numpy as np

        rows: list[int] = []
        questions: list[str] = []
        answers: list[str] = []
        unusable: dict[str, list[int]] = {}
        for number, turns in enumerate(_read_conversations(path), start=1):
            if len(turns) < 2:
                unusable.setdefault("fewer_than_two_turns", []).append(number)
            elif turns[0]["from"] not in QUESTIONERS or turns[1]["from"] not in ANSWERERS:
                unusable.setdefault("does_not_begin_with_question_and_answer", []).append(number)
            else:
                rows.append(number)
                questions.append(turns[0]["value"])
                answers.append(turns[1]["value"])
        question_ids = context.tokenizer.encode(questions)
        answer_ids = context.tokenizer.encode(answers)
        return TraceRows(
            np.array(rows, dtype=np.int64),
            None,
            np.array([len(ids) for ids in question_ids], dtype=np.int64),
            np.array([len(ids) for ids in answer_ids], dtype=np.int64),
            texts=[
                TextPrompt(f"row-{row}", question, ids)
                for row, question, ids in zip(rows, questions, question_ids, strict=True)
            ],
            unusable=unusable,
        )


def _read_conversations(path: Path) -> list[list[dict[str, Any]]]:
    """The turns of each, of which the first two are checked. Raises `WorkloadError` naming the
    conversation and the field.
    """
    try:
        conversations = json.loads(read_input(path))
    except (ValueError, RecursionError) as error:
        raise WorkloadError(f"{path}: not JSON ({error}): is it whole, and ShareGPT's?") from None
    if not isinstance(conversations, list):
        raise WorkloadError(f"{path}: not a list of conversations: is it ShareGPT's?")
    found: list[list[dict[str, Any]]] = []
    for number, conversation in enumerate(conversations, start=1):
        turns = conversation.get("conversations") if isinstance(conversation, dict) else None
        where = f"{path}, conversation {number}"
        if not isinstance(turns, list):
            raise WorkloadError(f"{where}: conversations is missing or no list: is it ShareGPT's?")
        for turn in turns[:2]:
            if not isinstance(turn, dict) or not all(
                isinstance(turn.get(name), str) for name in ("from", "value")
            ):
                raise WorkloadError(
                    f"{where}: a turn needs the texts from and value: is it ShareGPT's?"
                )
            if any("\ud800" <= character <= "\udfff" for character in turn["value"]):
                raise WorkloadError(f"{where}: a turn holds half a character: leave it out")
        found.append(turns)
    return found


PLUGIN = ShareGptTrace(name="sharegpt", title="ShareGPT", licence="Apache-2.0")
