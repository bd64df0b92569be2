"""The page of a workload shows it, in one file that needs no network."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any


def page(written: Callable[..., Any], **changes: Any) -> str:
    directory, _ = written(**changes)
    text: str = (directory / "workload.html").read_text(encoding="utf-8")
    HTMLParser().feed(text)
    return text


def test_the_page_draws_arrivals_rate_and_both_lengths_alone_and_together(
    written: Callable[..., Any],
) -> None:
    text = page(written)
    for title in (
        "Arrivals",
        "Rate",
        "Prompt lengths",
        "Output lengths",
        "Prompt and output lengths together",
    ):
        assert f">{title}<" in text


def test_the_page_needs_no_network(written: Callable[..., Any]) -> None:
    text = page(written)
    assert not re.findall(r"(?:src|href)=[\"']?(?!#)[^\"'> ]+", text)
    assert "<script" not in text
    assert "@import" not in text


def test_the_page_states_what_the_workload_is(written: Callable[..., Any]) -> None:
    text = page(written)
    assert "<h1>tiny</h1>" in text
    assert "<dt>requests</dt><dd>20</dd>" in text


def test_a_workload_of_one_request_and_of_equal_ones_can_be_drawn(
    written: Callable[..., Any],
) -> None:
    same = {"prefill_lengths": {"kind": "fixed", "tokens": 5}, "arrivals": {"kind": "all_at_once"}}
    assert "all at once" in page(written, workload_id="single", num_requests=1, **same)
    assert "all at once" in page(written, workload_id="equal", num_requests=50, **same)


def test_the_page_of_a_large_workload_is_no_larger(written: Callable[..., Any]) -> None:
    small = page(written, workload_id="small", num_requests=3_000)
    large = page(written, workload_id="large", num_requests=60_000)
    assert len(large) < 2 * len(small)


def test_the_page_of_a_closed_loop_says_that_its_arrivals_are_the_earliest(
    written: Callable[..., Any],
) -> None:
    assert "2 users" in page(
        written, arrivals={"kind": "closed_loop", "users": 2, "think_time_s": 1}
    )
