"""Caffe's files: text (.prototxt) and binary (.caffemodel), read into messages of `schema`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from chainrule.core.errors import UserError
from chainrule.core.files.git_lfs import expect_no_pointer
from chainrule.interop.caffe.description.schema import message

_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")  # in no text, and in every binary message but the smallest
_TOKEN = re.compile(r"""#[^\n]*|"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'|\w+|[{}<>]""")
OPENING, CLOSING = ("{", "<"), ("}", ">")
KINDS = {"Net": "a net description", "Solver": "a solver"}


def read_text(file: str | Path, kind: str) -> tuple[Any, str]:
    """The message in a text file, and the text.

    Args:
        file: its path.
        kind: the message of `schema.MESSAGES` that it holds: Net or Solver.

    Raises:
        UserError: there is no such file, it is binary, or it is no such text (with line and column).
    """
    text = _text(file, KINDS[kind])
    return parse_text(text, kind, file), text


def kind_of_file(file: str | Path) -> str:
    """Net or Solver: what a text file holds; Net where that cannot be told.

    Raises:
        UserError: there is no such file, or it is binary.
    """
    return kind_of(_text(file, "a net description or a solver")) or "Net"


def kind_of(text: str) -> str | None:
    """Net or Solver, whichever has the first outer field that the other has not; None where there is none.

    >>> kind_of("debug_info: true net_param { layer { } }"), kind_of("layer { }"), kind_of("# nothing")
    ('Solver', 'Net', None)
    """
    fields = {kind: set(message(kind).DESCRIPTOR.fields_by_name) for kind in KINDS}
    for token, _, depth in _tokens(text):
        has = [kind for kind, names in fields.items() if token in names] if depth == 0 else []
        if len(has) == 1:
            return has[0]
    return None


def _text(file: str | Path, words: str) -> str:
    raw = _read(file, f"{words} (text, .prototxt)")
    if _CONTROL.search(raw):
        raise UserError(
            "a binary file stands in the place of a text",
            where=file,
            expected=f"{words} (.prototxt)",
            cure="weights (.caffemodel) go to load_caffemodel, or to the setting caffemodel=",
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:  # comments in another encoding; what counts is ASCII
        return raw.decode("latin-1")


def parse_text(text: str, kind: str, where: object = None) -> Any:
    """The message that a text describes.

    Raises:
        UserError: a word that Caffe does not know, or a broken text, with line and column.

    >>> parse_text('base_lr: 0.01 lr_policy: "fixed"', "Solver").lr_policy
    'fixed'
    """
    result = message(kind)()
    from google.protobuf import text_format

    try:
        text_format.Parse(text, result)
    except text_format.ParseError as error:
        line = error.GetLine()
        problem = re.sub(r"^\d+:\d+ ?: ", "", str(error))
        problem = re.sub(r"caffe\.(\w+Scope\.)?", "", problem)
        before = f"{where}, " if where is not None else ""
        place = f"{before}line {line}, column {error.GetColumn()}" if line else where
        if (other := kind_of(text)) not in (None, kind):
            raise UserError(
                f"this is {KINDS[other]}, and in its place belongs {KINDS[kind]}",
                where=place,
                expected=KINDS[kind],
                found=problem,
                cure=f"as a setting it is {'solver' if other == 'Solver' else 'net'}=FILE; chainrule show FILE looks at either",
            ) from None
        raise UserError(
            "the text is not understood",
            where=place,
            expected="a net description" if kind == "Net" else "the settings of a solver",
            found=problem,
            cure="Caffe writes name: value, and name { ... }" if "no field" not in problem else None,
        ) from None
    except (RecursionError, ValueError) as error:  # nested too deep, a number that is none
        raise UserError("the text is not understood", where=where, expected=KINDS[kind], found=error) from None
    return result


def read_binary(file: str | Path, kind: str = "Net") -> Any:
    """The message in a binary file.

    Args:
        file: its path.
        kind: the message of `schema.MESSAGES` that it holds: Net, with weights, or Blob, a mean image.

    Raises:
        UserError: there is no such file, it is text, or it is cut off or no such message.
    """
    words = {"Net": "weights (binary, .caffemodel)", "Blob": "a mean image (binary, .binaryproto)"}[kind]
    raw = _read(file, words)
    if not raw:
        raise UserError("the file is empty", where=file, expected=words)
    result = message(kind)()
    from google.protobuf.message import DecodeError

    if not _CONTROL.search(raw[:65536]):
        raise UserError(
            "a text stands in the place of a binary file",
            where=file,
            expected=words,
            cure="a net description (.prototxt) goes to read_net, or to the setting net=",
        )
    try:
        result.ParseFromString(raw)
    except DecodeError:
        raise UserError(
            "the file cannot be read",
            where=file,
            expected=f"{words}, whole",
            found=f"{len(raw):,} bytes that are cut off or something else",
            cure="fetch the file again",
        ) from None
    return result


def layer_lines(text: str) -> dict[str, list[int]]:
    """The lines on which the layers of a description begin, by the word: `layer`, or `layers` of the old form.

    >>> layer_lines('name: "layer {" # layer {\\nlayer { name: "a" }\\nlayer {\\n}')
    {'layer': [2, 3], 'layers': []}
    """
    lines: dict[str, list[int]] = {"layer": [], "layers": []}
    before = ""
    for token, at, depth in _tokens(text):
        if token in OPENING and depth == 0 and before in lines:
            lines[before].append(text.count("\n", 0, at) + 1)
        before = token
    return lines


def inner_text(text: str, name: str) -> str | None:
    """What stands in the braces of the outer field of that name, on the lines and columns where it stands.

    >>> inner_text('base_lr: 1 net_param { name: "n" }', "net_param").strip()
    'name: "n"'
    >>> inner_text("base_lr: 1", "net_param")
    """
    before, begin = "", None
    for token, at, depth in _tokens(text):
        if token in OPENING and depth == 0 and before == name:
            begin = at + 1
        elif token in CLOSING and depth == 0 and begin is not None:
            return re.sub(r"[^\n]", " ", text[:begin]) + text[begin:at]
        before = token
    return None


def _tokens(text: str) -> Iterator[tuple[str, int, int]]:
    """Words and braces with their places and how deep they stand, a brace as deep as what is around it."""
    depth = 0
    for match in _TOKEN.finditer(text):
        token = match.group()
        if token.startswith("#"):
            continue
        depth -= token in CLOSING
        yield token, match.start(), depth
        depth += token in OPENING


def _read(file: str | Path, expected: str) -> bytes:
    path = Path(file)
    if not path.is_file():
        raise UserError(
            "there is no such file" if not path.exists() else "this is no file", where=file, expected=expected
        )
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise UserError("the file cannot be read", where=file, found=error.strerror) from None
    expect_no_pointer(raw, file)
    return raw
