"""Text files are UTF-8: what is told of one that is not."""

from __future__ import annotations

from pathlib import Path

from chainrule.core.errors import UserError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def not_utf8(
    file: Path, content: bytes, error: UnicodeDecodeError, *, lines: int = 0, bytes_before: int = 0
) -> UserError:
    """The error for a file whose bytes are `content` and cannot be decoded: it names the line and the byte.

    `lines` and `bytes_before` stand before `content` in the file, where that is a part of it.
    """
    line = lines + content.count(b"\n", 0, error.start) + 1
    return UserError(
        "the file cannot be read: it is not UTF-8",
        where=f"{file}, line {line}, byte {bytes_before + error.start:,}",
        expected="text in UTF-8",
        found=f"byte 0x{content[error.start]:02x} ({error.reason})",
        cure=f"save it as UTF-8, or: iconv -f LATIN1 -t UTF-8 {file} > utf8.txt",
    )
