"""What a file is: by the ending of its name, and where that says nothing, by what it begins with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

IMAGE_FORM, TEXT_FORM = "image without ending", "text without ending"  # what a file is whose ending says nothing
IMAGE_ENDINGS = frozenset(
    [
        ".png",
        ".apng",
        ".jpg",
        ".jpeg",
        ".jpe",
        ".jfif",
        ".jif",
        ".bmp",
        ".gif",
        ".tif",
        ".tiff",
        ".webp",
        ".pbm",
        ".pgm",
        ".ppm",
        ".pnm",
    ]
)
# Endings of what is neither: such a file is not opened to find out.
OTHER_ENDINGS = frozenset(
    [
        ".txt",
        ".text",
        ".md",
        ".rst",
        ".csv",
        ".tsv",
        ".json",
        ".jsonl",
        ".ndjson",
        ".xml",
        ".yaml",
        ".yml",
        ".toml",
        ".ini",
        ".cfg",
        ".conf",
        ".log",
        ".html",
        ".htm",
        ".py",
        ".ipynb",
        ".sh",
        ".bat",
        ".js",
        ".css",
        ".c",
        ".h",
        ".cpp",
        ".java",
        ".m",
        ".r",
        ".tex",
        ".bib",
        ".sql",
        ".names",
        ".list",
        ".lst",
        ".url",
        ".lnk",
        ".npy",
        ".npz",
        ".mat",
        ".pt",
        ".pth",
        ".ckpt",
        ".onnx",
        ".safetensors",
        ".caffemodel",
        ".prototxt",
        ".pkl",
        ".pickle",
        ".h5",
        ".hdf5",
        ".zip",
        ".tar",
        ".gz",
        ".tgz",
        ".bz2",
        ".xz",
        ".zst",
        ".7z",
        ".rar",
        ".db",
        ".sqlite",
        ".lock",
        ".pdf",
        ".doc",
        ".docx",
        ".xls",
        ".xlsx",
        ".ppt",
        ".pptx",
        ".rtf",
        ".odt",
        ".mp4",
        ".avi",
        ".mov",
        ".mkv",
        ".wav",
        ".mp3",
        ".flac",
        ".ogg",
        ".data",
        ".parquet",
        ".arrow",
        ".ps",
        ".eps",
        ".svg",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".dcm",
        ".nii",
        ".psd",
        ".ico",
        ".raw",
        ".exe",
        ".dll",
        ".so",
        ".tmp",
        ".bak",
        ".part",
        ".partial",
    ]
)
_BEGINNINGS = (b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a", b"II*\0", b"MM\0*")
_BITMAP = re.compile(rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}", re.DOTALL)
_PLAIN = re.compile(rb"P[1-6]\s+(?:#[^\n]*\n\s*)*\d+\s+\d+\s")  # of PBM, PGM, PPM
_LOOKED_AT = 1024  # bytes
NAMED = 20  # forms of files that one line names


def form_of(file: Path) -> str:
    """The ending of a file in small letters; of one whose ending says nothing, IMAGE_FORM or TEXT_FORM where it holds that.

    >>> form_of(Path("cat.JFIF")), form_of(Path("gone"))
    ('.jfif', '')
    """
    ending = file.suffix.lower()
    if ending in IMAGE_ENDINGS or ending in OTHER_ENDINGS:
        return ending
    try:
        if not file.is_file():  # a pipe would be waited for
            return ending
        with file.open("rb") as stream:
            head = stream.read(_LOOKED_AT)
    except OSError:
        return ending
    if begins_as_image(head):
        return IMAGE_FORM
    return TEXT_FORM if ending[1:].isdecimal() | (not ending) and _is_text(head) else ending


def is_hidden_name(name: str) -> bool:
    """Whether a file or a folder is left by a system beside the data: what begins with a dot, a Mac's or a NAS's folder.

    >>> is_hidden_name("._cat.jpg"), is_hidden_name("__MACOSX"), is_hidden_name("cat")
    (True, True, False)
    """
    return name.startswith(".") or name in ("__MACOSX", "@eaDir", "Thumbs.db", "desktop.ini")


def is_image(file: Path) -> bool:
    """Whether a file is one by its ending, or where that says nothing by how it begins."""
    return form_of(file) in (*IMAGE_ENDINGS, IMAGE_FORM)


def is_text(file: Path) -> bool:
    """Whether a file ends in .txt, or its ending says nothing and it holds text."""
    return form_of(file) in (".txt", TEXT_FORM)


def images_among(forms: Iterable[tuple[str, int]]) -> int:
    """How many of the files counted by form are images.

    >>> images_among([(".png", 3), (".xml", 3), (IMAGE_FORM, 1)])
    4
    """
    return sum(count for form, count in forms if form in IMAGE_ENDINGS or form == IMAGE_FORM)


def texts_among(forms: Mapping[str, int]) -> int:
    """How many of the files counted by form are texts."""
    return forms.get(".txt", 0) + forms.get(TEXT_FORM, 0)


def told_as_passed_over(forms: Mapping[str, int], where: object = "") -> list[str]:
    """A line for files that were not read, counted by form; none where there are none.

    >>> told_as_passed_over({".xml": 2, ".md": 1})
    ['passed over: 2 .xml, 1 .md']
    """
    ranked = sorted(forms.items(), key=lambda each: -each[1])[:NAMED]
    parts = [f"{count:,} {form.removeprefix('a ') or 'without ending'}" for form, count in ranked if count]
    return [f"passed over{f' in {where}' if str(where) else ''}: {', '.join(parts)}"] if parts else []


def begins_as_image(head: bytes) -> bool:
    """Whether bytes are how a PNG, JPEG, GIF, TIFF, WebP, BMP, PBM, PGM or PPM begins.

    >>> begins_as_image(b"P5 8 8 255 "), begins_as_image(b"BMW makes cars and motorcycles")
    (True, False)
    """
    webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    return head.startswith(_BEGINNINGS) or webp or bool(_BITMAP.match(head) or _PLAIN.match(head))


def _is_text(head: bytes) -> bool:
    """Whether bytes are the beginning of a text: in UTF-16 with its mark, or with hardly a control character."""
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return True
    odd = sum(byte < 32 and byte not in b"\t\n\r\f\x1b" for byte in head)
    return bool(head) and b"\0" not in head and odd * 50 <= len(head)
