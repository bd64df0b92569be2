"""What can go wrong with a file on its way: a Hypothesis strategy of its changed contents."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

WRONG_CELLS = (
    *("", "-1", "x", "1.5", "nan", "inf", "-0", "0", "1e9", "true", '"', "9" * 25),
    *(str(2**63), str(10**15), "１", "0x10", " 7", "1_000", "\0", "\ud800"),
)
WRONG_VALUES: tuple[Any, ...] = (
    *(None, -1, 0, 1.5, 1e308, 10**30, True, "", "x", "../../x", [], {}, [None], "\ud800"),
)
DEEP = 100_000


@dataclass(frozen=True)
class Change:
    """`how`: in a word, for who reads a failure."""

    how: str
    content: bytes

    def __repr__(self) -> str:
        return f"Change({self.how!r}, {len(self.content)} bytes)"


@st.composite
def changed(draw: st.DrawFn, content: bytes, suffix: str, others: Mapping[str, bytes]) -> Change:
    """`content` after one accident; `others`: what may lie in its place by mistake."""
    accidents: list[Callable[[st.DrawFn, bytes], Change]] = [_flipped, _cut, _replaced]
    if suffix == ".csv":
        accidents += [_rows_cut, _row_doubled, _cell, _cell, _cell, _header_doubled, _rows_swapped]
    elif suffix == ".json":
        accidents += [_value, _value, _value, _key_doubled, _deepened, _key_lost, _key_added]
    if others:
        accidents.append(lambda draw, _: _swapped(draw, others))
    change = draw(st.sampled_from(accidents))(draw, content)
    return change


def _flipped(draw: st.DrawFn, content: bytes) -> Change:
    at = draw(st.integers(0, len(content) - 1))
    bit = draw(st.integers(0, 7))
    flipped = bytes([content[at] ^ (1 << bit)])
    return Change(f"bit {bit} of byte {at}", content[:at] + flipped + content[at + 1 :])


def _cut(draw: st.DrawFn, content: bytes) -> Change:
    at = draw(st.integers(0, len(content) - 1))
    return Change(f"cut at byte {at}", content[:at])


def _replaced(draw: st.DrawFn, content: bytes) -> Change:
    at = draw(st.integers(0, len(content)))
    end = min(len(content), at + draw(st.integers(0, 20)))
    new = draw(st.binary(max_size=9))
    return Change(f"bytes {at} to {end} are {new!r}", content[:at] + new + content[end:])


def _swapped(draw: st.DrawFn, others: Mapping[str, bytes]) -> Change:
    name = draw(st.sampled_from(sorted(others)))
    return Change(f"is {name}", others[name])


def _lines(content: bytes) -> list[str]:
    return content.decode().splitlines()


def _csv(how: str, lines: list[str]) -> Change:
    return Change(how, ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass"))


def _rows_cut(draw: st.DrawFn, content: bytes) -> Change:
    header, *rows = _lines(content)
    begin = draw(st.integers(0, len(rows) - 1))
    end = draw(st.integers(begin + 1, len(rows)))
    return _csv(f"rows {begin + 2} to {end + 1} are gone", [header, *rows[:begin], *rows[end:]])


def _row_doubled(draw: st.DrawFn, content: bytes) -> Change:
    header, *rows = _lines(content)
    at = draw(st.integers(0, len(rows) - 1))
    return _csv(f"row {at + 2} stands twice", [header, *rows[: at + 1], *rows[at:]])


def _rows_swapped(draw: st.DrawFn, content: bytes) -> Change:
    header, *rows = _lines(content)
    one, other = (draw(st.integers(0, len(rows) - 1)) for _ in range(2))
    rows[one], rows[other] = rows[other], rows[one]
    return _csv(f"rows {one + 2} and {other + 2} in each other's place", [header, *rows])


def _cell(draw: st.DrawFn, content: bytes) -> Change:
    header, *rows = _lines(content)
    at = draw(st.integers(0, len(rows) - 1))
    cells = rows[at].split(",")
    column = draw(st.integers(0, len(cells) - 1))
    cells[column] = draw(st.sampled_from(WRONG_CELLS))
    rows[at] = ",".join(cells)
    name = header.split(",")[column]
    return _csv(f"{name} of row {at + 2} is {cells[column]!r}", [header, *rows])


def _header_doubled(draw: st.DrawFn, content: bytes) -> Change:
    header, *rows = _lines(content)
    names = header.split(",")
    column = draw(st.integers(0, len(names) - 1))
    rows = [f"{row},{row.split(',')[column]}" for row in rows]
    return _csv(f"column {names[column]} stands twice", [f"{header},{names[column]}", *rows])


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path to every value inside."""
    inside = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inside:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from _places(one, (*path, key))


def _spot(draw: st.DrawFn, content: bytes) -> tuple[Any, Any, Any, str]:
    """`(document, what holds the value, its key, its path)` of one value in a JSON file."""
    document = json.loads(content)
    # Hypothesis would print each of thousands of paths
    places = list(_places(document))
    path = places[draw(st.integers(0, len(places) - 1))]
    holder = document
    for key in path[:-1]:
        holder = holder[key]
    return document, holder, path[-1], ".".join(map(str, path))


def _json(how: str, document: Any) -> Change:
    return Change(how, json.dumps(document, indent=2).encode())


def _value(draw: st.DrawFn, content: bytes) -> Change:
    document, holder, key, path = _spot(draw, content)
    holder[key] = draw(st.sampled_from(WRONG_VALUES))
    return _json(f"{path} is {holder[key]!r}", document)


def _key_lost(draw: st.DrawFn, content: bytes) -> Change:
    document, holder, key, path = _spot(draw, content)
    del holder[key]
    return _json(f"{path} is gone", document)


def _key_added(draw: st.DrawFn, content: bytes) -> Change:
    document = json.loads(content)
    return _json("a key of another release", {**document, "of_another_release": 1})


def _key_doubled(draw: st.DrawFn, content: bytes) -> Change:
    document = json.loads(content)
    key = draw(st.sampled_from(sorted(document)))
    text = json.dumps(document)
    return Change(f"{key} stands twice", (text[:-1] + f", {json.dumps(key)}: 1}}").encode())


def _deepened(draw: st.DrawFn, content: bytes) -> Change:
    document, holder, key, path = _spot(draw, content)
    holder[key] = "DEEP"
    text = json.dumps(document).replace('"DEEP"', "[" * DEEP + "]" * DEEP, 1)
    return Change(f"{path} is {DEEP} deep", text.encode())
