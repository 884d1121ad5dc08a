"""What `predict` was asked about: each form of naming inputs, and each way to name them wrongly."""

from __future__ import annotations

import io
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from chainrule.core.errors import UserError
from chainrule.data.inputs import MOST_LINES, Asked, answer_to, asked_files, asked_paths, stdin_table, table_parts
from chainrule.data.tables.formats.csv_files import to_numbers
from chainrule.data.tables.formats.table_files import read_cells
from chainrule.data.text.inputs import asked_texts

ENDINGS = {".png", ".jpg"}
Stdin = Callable[[str | bytes], None]


@pytest.fixture
def stdin(monkeypatch: pytest.MonkeyPatch) -> Stdin:
    def fill(content: str | bytes) -> None:
        raw = content if isinstance(content, bytes) else content.encode()
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(raw)))

    return fill


def touch(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("")


def files(*inputs: str) -> list[str]:
    return [asked.name for asked in asked_files(inputs, ENDINGS, "image")]


# -- files ------------------------------------------------------------------------------------------------------------


def test_folders_are_looked_through(stdin: Stdin) -> None:
    touch("d/b.png", "d/a.JPG", "d/sub/猫.png", "d/notes.txt", "d/.hidden.png", "d/.git/x.png", "e.png")
    assert files("e.png", "d") == ["e.png", "d/a.JPG", "d/b.png", "d/sub/猫.png"]
    stdin("\ufeffe.png\r\n\n-\nd\n")
    assert files("-") == ["e.png", "d/a.JPG", "d/b.png", "d/sub/猫.png"]


def test_a_list_keeps_its_order_and_its_columns() -> None:
    touch("l/x/b.png", "l/a.png")
    Path("l/list.csv").write_text('\ufeffid,path,class\n7, a.png,"cat, old"\n8,x/b.png,狗\n', "utf-8")
    found = list(asked_files(["l/list.csv"], ENDINGS, "image"))
    assert [(a.name, a.value) for a in found] == [("l/a.png", Path("l/a.png")), ("l/x/b.png", Path("l/x/b.png"))]
    assert answer_to(found[1], {"class": "cat"}) == {
        "input": "l/x/b.png", "id": "8", "path": "x/b.png", "given_class": "狗", "class": "cat",
    }  # fmt: skip
    Path("l/list.jsonl").write_text('{"path": "a.png", "n": 1}\n')
    assert [a.own["n"] for a in asked_paths(["l/list.jsonl"])] == ["1"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("name\nx.png\n", r"no column of files[\s\S]*list.csv[\s\S]*found:    name"),
        ("path\na.png\ngone.png\n", r"no such file[\s\S]*list.csv, line 3[\s\S]*gone.png"),
        ("path,n\n,1\n", r"list.csv, line 2[\s\S]*an empty cell"),
        ("path,n\na.png,1\na.png\n", r"another number of columns[\s\S]*line 3"),
        ("path,path\na.png,a.png\n", "two columns have one name"),
        ("path\n", "the table is empty"),
        ("", "the table is empty"),
        ("path\n\xff\n", "not UTF-8"),
    ],
)
def test_lists_that_are_none(content: str, words: str) -> None:
    touch("a.png")
    Path("list.csv").write_bytes(content.encode("latin-1"))
    with pytest.raises(UserError, match=words):
        files("list.csv")


def test_nothing_to_ask_about(stdin: Stdin) -> None:
    Path("empty").mkdir()
    with pytest.raises(UserError, match="the folder holds no image"):
        files("empty")
    with pytest.raises(UserError, match=r"there is no such file[\s\S]*gone.csv"):
        files("gone.csv")
    for content in ("", "\n\n"):
        stdin(content)
        with pytest.raises(UserError, match="no image is named"):
            files("-")
    stdin(b"a.png\n\xff\xfe\n")
    with pytest.raises(UserError, match=r"not UTF-8[\s\S]*stdin, line 2"):
        files("-")


# -- tables -----------------------------------------------------------------------------------------------------------


def test_a_table_is_read_part_by_part() -> None:
    count = 3 * MOST_LINES + 5
    with Path("t.csv").open("w") as handle:
        handle.write("a;b\n" + "".join(f"{i};x{i}\n" for i in range(count)))
    tracemalloc.start()
    rows = [(row, cells.where(i)) for cells in table_parts(Path("t.csv")) for i, row in [(0, cells.rows[0])]]
    sizes = [len(cells.rows) for cells in table_parts(Path("t.csv"))]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert sizes == [MOST_LINES] * 3 + [5]
    assert rows[1] == ([str(MOST_LINES), f"x{MOST_LINES}"], f"t.csv, line {MOST_LINES + 2}")
    assert peak < 4_000_000, "a part of the table is in memory, not all of it"


def test_a_table_with_semicolons_may_have_decimal_commas() -> None:
    Path("t.csv").write_text("\ufeffgröße;name\n1,5;a,b\n-2;1,2,3\n", encoding="utf-8")
    (part,) = table_parts(Path("t.csv"))
    assert part.rows == read_cells(Path("t.csv")).rows == [["1,5", "a,b"], ["-2", "1,2,3"]]
    assert to_numbers(part, [0]).tolist() == [[1.5], [-2.0]]
    Path("t.csv").write_text("a;b\n1,50;2\n1.5;2\n")
    with pytest.raises(UserError, match=r"comma and others a point(.|\n)*1,50 in line 2, 1\.5 in line 3"):
        to_numbers(read_cells(Path("t.csv")), [0])
    Path("t.csv").write_text('a,b\n"1,5",2\n')
    assert read_cells(Path("t.csv")).rows == [["1,5", "2"]]


def test_lines_in_quotes_are_counted() -> None:
    Path("t.csv").write_text('a,b\n1,"two\nlines"\n\n3,4\n')
    (cells,) = table_parts(Path("t.csv"))
    assert cells.rows == [["1", "two\nlines"], ["3", "4"]] and list(cells.lines) == [3, 5]
    Path("t.csv").write_text('a,b\n1,"two\n')
    with pytest.raises(UserError, match="cannot be read"):
        list(table_parts(Path("t.csv")))


@pytest.mark.parametrize(
    ("content", "header", "rows"),
    [
        ("1,2\n3,4\n", ["a", "b"], [["1", "2"], ["3", "4"]]),
        ("b,id,a\n2,x,1\n", ["b", "id", "a"], [["2", "x", "1"]]),
        ("\ufeffa,b\r\n1,2\r\n", ["a", "b"], [["1", "2"]]),
        ("x,2\n", ["a", "b"], [["x", "2"]]),
    ],
)
def test_rows_on_stdin_with_names_or_without(
    content: str, header: list[str], rows: list[list[str]], stdin: Stdin
) -> None:
    stdin(content)
    (cells,) = stdin_table(["a", "b"], {"a", "b"})
    assert (cells.header, cells.rows) == (header, rows)


def test_rows_on_stdin_that_are_none(stdin: Stdin) -> None:
    for content, words in (
        ("", "nothing on stdin"),
        ("1,2\n1\n", r"wrong number of values[\s\S]*stdin, line 2"),
        ("a,b\n", "the table is empty"),
    ):
        stdin(content)
        with pytest.raises(UserError, match=words):
            list(stdin_table(["a", "b"], {"a", "b"}))


# -- texts ------------------------------------------------------------------------------------------------------------


def test_texts(stdin: Stdin) -> None:
    touch("d/two.txt")
    Path("d/one.txt").write_text("a text\n")
    Path("d/two.txt").write_text("another")
    Path("t.csv").write_text("id,text\n1,x\n")
    Path("l.csv").write_text("path,id\nd/one.txt,3\n")
    stdin("a line\n\nand one, with a comma\n")
    found = list(asked_texts(["d", "t.csv", "l.csv", "-", "typed", "d/one.txt"]))
    assert [(a.name, a.value) for a in found] == [
        ("d/one.txt", "a text\n"), ("d/two.txt", "another"), ("t.csv, line 2", "x"), ("d/one.txt", "a text\n"),
        ("a line", "a line"), ("and one, with a comma",) * 2, ("typed",) * 2, ("d/one.txt", "a text\n"),
    ]  # fmt: skip
    assert found[2].own == {"id": "1", "text": "x"} and found[3].own["id"] == "3"
    stdin("text,id\nhello,7\n")
    assert list(asked_texts(["-"])) == [Asked("stdin, line 2", "hello", {"text": "hello", "id": "7"})]
    stdin("")
    for wrong, words in (("-", "nothing on stdin"), ("gone.txt", "no such file"), ("x" * 5000, "")):
        if words:
            with pytest.raises(UserError, match=words):
                list(asked_texts([wrong]))
        else:
            assert [a.value for a in asked_texts([wrong])] == [wrong]
