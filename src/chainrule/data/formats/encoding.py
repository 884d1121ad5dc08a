"""From bytes to text: UTF-8, what a byte-order mark says, or the encoding that the user names; else the likeliest is told."""

from __future__ import annotations

import codecs
import io
import re
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from chainrule.core.data.option import Option
from chainrule.core.errors import UserError

ENCODING = Option(
    "encoding",
    kinds=("table", "series", "sentences", "text", "images", "masks"),
    type=str | None,
    default=None,
    text="The encoding of a text file: gb18030, cp1252, big5, utf-16; UTF-8, or what its byte-order mark says, without it.",
    text_zh="文本文件的字符编码：gb18030、cp1252、big5、utf-16；不写则为 UTF-8。",
    later=True,
)

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before that of UTF-16, which it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LOOKED_AT = 2**16  # bytes, from the first that is not ASCII on
_HIGH = re.compile(rb"[\x80-\xff]+")


def marked_encoding(content: bytes) -> str | None:
    """What a byte-order mark at the beginning says; None where there is none.

    >>> marked_encoding("a".encode("utf-16")), marked_encoding(b"a")
    ('utf-16', None)
    """
    return next((name for mark, name in _MARKS if content.startswith(mark)), None)


def expect_encoding(name: str) -> str:
    """Python's name of an encoding; UserError where there is none of this name."""
    try:
        found = codecs.lookup(name)
        if not found._is_text_encoding:
            raise LookupError
        return found.name
    except (LookupError, ValueError):
        raise UserError(
            f"there is no encoding {name!r}", expected="utf-8, utf-16, gb18030, big5, shift_jis, euc_kr, cp1252, ..."
        ) from None


def encoding_of(content: bytes, named: str | None = None) -> str:
    """The encoding of a text, by its beginning: the one that is named, of several by commas the first that the bytes fit.

    Without a name a byte-order mark is believed, else it is UTF-8.

    >>> encoding_of("评论".encode(), "utf-8,gb18030"), encoding_of("评论".encode("gb18030"), "utf-8,gb18030")
    ('utf-8', 'gb18030')
    """
    names = [expect_encoding(name.strip()) for name in named.split(",")] if named else []
    if len(names) == 1:
        return names[0]
    marked = marked_encoding(content)
    return marked or next((name for name in names if _begins(content, name)), names[-1] if names else "utf-8")


def _begins(content: bytes, name: str) -> bool:
    """Whether bytes are text in an encoding, the last of which may be cut."""
    try:
        codecs.getincrementaldecoder(name)().decode(content)
    except UnicodeDecodeError:
        return False
    return True


def decode(content: bytes, where: object, encoding: str | None = None, *, zeros: float = 0.0) -> str:
    """The text that bytes stand for, without a byte-order mark.

    Args:
        content: the whole file.
        where: what it is called in an error.
        encoding: as `encoding_of` has it.
        zeros: the share of characters that may be the zero; more are UTF-16 without its mark, or no text.

    Raises:
        UserError: the bytes are no such text: line and byte are named, and `encoding=` with what they most likely are.

    >>> decode(b"caf\\xe9", "menu.csv", "cp1252")
    'café'
    """
    name = encoding_of(content, encoding)
    try:
        text = content.decode(name).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise not_decoded(where, content, error, named=encoding) from None
    marks = (
        text.count("\ufeff") if name.startswith("utf-16") else 0
    )  # within the text: bytes that only look like UTF-16
    if text.count("\0") + marks > zeros * len(text):
        raise _no_text(where, content, 0, encoding)
    return text


def _no_text(where: object, content: bytes, offset: int, named: str | None) -> UserError:
    """The error for bytes of 0, which no text has: often those of UTF-16 without its mark."""
    likely = None if named else guess_encoding(content)
    return UserError(
        "the file cannot be read: it is no text",
        where=f"{where}, byte {offset + content.index(0):,}",
        expected="text in UTF-8, or encoding=NAME",
        found="a byte 0" + (f"; it looks like {likely.upper()}" if likely else ""),
        cure=f"encoding={likely}" if likely else "save it as text in UTF-8",
    )


def not_decoded(
    where: object,
    content: bytes,
    error: UnicodeDecodeError,
    *,
    named: str | None = None,
    lines: int = 0,
    bytes_before: int = 0,
) -> UserError:
    """The error for bytes that are no text in an encoding: it names the line, the byte, and what they most likely are.

    `named` is the encoding that the user named; `lines` and `bytes_before` stand before `content` in the file.
    """
    likely = guess_encoding(content)
    word = named or ("UTF-8" if error.encoding.replace("-", "") == "utf8" else error.encoding.upper())
    if not lines and content.startswith(b"PK\x03\x04"):
        return UserError(
            "the file cannot be read: it is no text",
            where=where,
            found="a zip file, as workbooks are",
            cure="name a workbook .xlsx",
        )
    line = lines + content.count(b"\n", 0, error.start) + 1
    return UserError(
        f"the file cannot be read: it is not {word}",
        where=f"{where}, line {line}, byte {bytes_before + error.start:,}",
        expected="text in UTF-8, or encoding=NAME" if named is None else f"text in {named}",
        found=f"byte 0x{content[error.start]:02x} ({error.reason})" + (f"; it looks like {likely}" if likely else ""),
        cure=f"encoding={likely}, or: iconv -f {likely.upper()} -t UTF-8 {where} > utf8.txt"
        if likely
        else "save it as UTF-8, or name its encoding=",
    )


def guess_encoding(content: bytes) -> str | None:
    """What bytes that are no UTF-8 most likely are, by how their high bytes lie and by which letters they would be.

    Chinese, Japanese and Korean have high bytes in runs, two a letter, and letters in common use make up nearly all of a
    text. Cyrillic has whole words of single high bytes; Western text has single ones between ASCII. None where none fits.

    >>> guess_encoding("标签,评论\\n好,很好".encode("gb18030")), guess_encoding("Größe,Süße".encode("cp1252"))
    ('gb18030', 'cp1252')
    """
    marked = marked_encoding(content)
    if marked is not None:
        return marked if _decodes(content, marked) else None
    zeros = [content[start:_LOOKED_AT:2].count(0) for start in (0, 1)]
    if max(zeros) > 0.2 * len(content[:_LOOKED_AT]) / 2:
        name = "utf-16-le" if zeros[1] > zeros[0] else "utf-16-be"
        return name if _decodes(content, name) else None
    first = _HIGH.search(content)
    if first is None or b"\0" in content:
        return None
    part = content[first.start() : first.start() + _LOOKED_AT]
    runs = [match.group() for match in _HIGH.finditer(part)]
    paired = sum(len(run) for run in runs if len(run) >= 2) / sum(map(len, runs))
    scores = {name: _common_share(part, name) for name in _COMMON} if paired > 0.5 else {}
    best = max(scores, key=lambda name: scores[name], default="")
    if best and scores[best] > 0.6:
        hangul = scores["euc_kr"] > 0.95 and sum(map(len, runs)) >= 24  # Chinese letters would not keep to so few bytes
        return "euc_kr" if best == "gb18030" and hangul else best
    if sum(map(len, runs)) >= 3 * len(runs) and min(b"".join(runs)) >= 0xA8:  # whole words
        return "cp1251"
    return next((name for name in ("cp1252", "latin-1") if _decodes(content, name)), None)


# Of each encoding of two bytes a letter, the bytes that are in common use: first and second, as ranges of both.
_COMMON: dict[str, tuple[tuple[int, int, int, int], ...]] = {
    "gb18030": ((0xA1, 0xA3, 0xA1, 0xFE), (0xB0, 0xD7, 0xA1, 0xFE)),  # marks, and the first level of GB 2312
    "big5": ((0xA1, 0xA3, 0x40, 0xFE), (0xA4, 0xC6, 0x40, 0xFE)),  # marks, and the first level of Big5
    "shift_jis": ((0x81, 0x83, 0x40, 0xFC), (0x88, 0x97, 0x40, 0xFC)),  # marks, kana, and the first level of JIS
    "euc_jp": ((0xA1, 0xA1, 0xA1, 0xFE), (0xA4, 0xA5, 0xA1, 0xF6)),  # marks and kana
    "euc_kr": ((0xA1, 0xA1, 0xA1, 0xFE), (0xB0, 0xC8, 0xA1, 0xFE)),  # marks and Hangul
}


def _common_share(part: bytes, name: str) -> float:
    """Which share of the letters beyond ASCII is in common use, were the bytes in this encoding; 0 where they are not."""
    text = part.decode(name, "ignore")
    if len(part) - len(text.encode(name, "ignore")) > 3:  # more than a letter cut at the end is lost
        return 0.0
    letters = [c.encode(name) for c in text if c > "\x7f"]
    common = sum(
        len(letter) == 2 and any(a <= letter[0] <= b and c <= letter[1] <= d for a, b, c, d in _COMMON[name])
        for letter in letters
    )
    return common / len(letters) if letters else 0.0


def _decodes(content: bytes, name: str) -> bool:
    try:
        content.decode(name)
    except UnicodeDecodeError:
        return False
    return True


def decoded_lines(
    stream: Iterable[bytes | str], where: object, encoding: str | None = None
) -> Iterator[tuple[int, str]]:
    """Numbered lines of text of a stream, each with its end, read as they are needed; those of UTF-16 are read whole.

    Args:
        stream: lines of bytes; texts are taken as they are.
        where: what it is called in an error.
        encoding: as `encoding_of` has it.

    Raises:
        UserError: as `decode`.
    """
    lines = iter(stream)
    head = list(islice(lines, 1000 if encoding and "," in encoding else 1))
    lines = chain(head, lines)
    name = encoding_of(b"".join(line for line in head if isinstance(line, bytes)), encoding)
    number = offset = 0
    if name.startswith(("utf-16", "utf-32")):
        content = b"".join(line for line in lines if isinstance(line, bytes))
        yield from enumerate(io.StringIO(decode(content, where, name), newline=""), 1)
        return
    for line in lines:
        if isinstance(line, bytes):
            text = _decoded(line, lines, name, where, encoding, number, offset)
            offset += len(line)
        else:
            text = line
        if not number:
            text = text.removeprefix("\ufeff")
        for part in io.StringIO(text, newline="") if "\r" in text[:-2] else (text,):
            if part:
                number += 1
                yield number, part


def _decoded(
    line: bytes, rest: Iterator[bytes | str], name: str, where: object, named: str | None, lines: int, offset: int
) -> str:
    """A line as text; what comes after it helps to tell what it is where it is none."""
    try:
        text = line.decode(name)
    except UnicodeDecodeError as error:
        content = line + b"".join(part for part in islice(rest, 1000) if isinstance(part, bytes))
        raise not_decoded(where, content, error, named=named, lines=lines, bytes_before=offset) from None
    if "\0" in text:
        content = line + b"".join(part for part in islice(rest, 1000) if isinstance(part, bytes))
        raise _no_text(where, content, offset, named)
    return text
