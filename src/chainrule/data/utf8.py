"""Text files are UTF-8: what is told of one that is not."""

from __future__ import annotations

from pathlib import Path

from chainrule.core.errors import UserError


def not_utf8(file: Path, content: bytes, error: UnicodeDecodeError) -> UserError:
    """The error for a file whose bytes are `content` and cannot be decoded: it names the line and the byte."""
    line = content.count(b"\n", 0, error.start) + 1
    return UserError(
        "the file cannot be read: it is not UTF-8",
        where=f"{file}, line {line}, byte {error.start:,}",
        expected="text in UTF-8",
        found=f"byte 0x{content[error.start]:02x} ({error.reason})",
        cure=f"save it as UTF-8, or: iconv -f LATIN1 -t UTF-8 {file} > utf8.txt",
    )
