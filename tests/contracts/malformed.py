"""Malformed inputs, made from a seed: files of every form that is read, and words of the command line.

A file is made whole and then damaged: cut, bytes flipped, bytes put in, pieces taken from another form, or it says what is
not true. A case is the words of a command; all of them are wrong, so none may end well, and none with a traceback.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import struct
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

Maker = Callable[[random.Random, Path], Path]


def damaged(draw: random.Random, content: bytes) -> bytes:
    """The bytes cut, flipped, overwritten, or with others in front of them."""
    how = draw.choice(["cut", "flip", "zero", "noise", "front", "empty"])
    at = draw.randrange(len(content))
    if how == "cut":
        return content[:at]
    if how == "flip":
        changed = bytearray(content)
        for _ in range(draw.choice([1, 4, 64])):
            changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
        return bytes(changed)
    if how == "zero":
        return content[:at] + bytes(min(64, len(content) - at)) + content[at + 64 :]
    if how == "noise":
        return draw.randbytes(len(content))
    return draw.randbytes(draw.randint(1, 16)) + content if how == "front" else b""


# -- tables ---------------------------------------------------------------------------------------------------------


def table_text(draw: random.Random, separator: str = ",") -> str:
    """A table with one thing wrong: a short or a long row, no rows, empty or doubled names, unfinished quotes, NULs."""
    rows = [
        ["a", "b", "class"],
        *([f"{draw.random():.3f}", str(draw.randrange(9)), draw.choice("xy")] for _ in range(12)),
    ]
    row = draw.randrange(1, len(rows))
    how = draw.choice(["short", "long", "none", "header", "double", "quote", "nul", "inf", "text", "blank"])
    if how == "short":
        rows[row].pop()
    elif how == "long":
        rows[row].append("1")
    elif how == "none":
        rows = rows[:1] if draw.random() < 0.5 else []
    elif how == "header":
        rows[0][draw.randrange(3)] = ""
        rows[0].append("")
    elif how == "double":
        rows[0][0] = rows[0][1]
    elif how == "inf":
        rows[row][0] = draw.choice(["inf", "-inf", "1e400", "9" * 400])
    elif how == "text":
        rows[row][0] = draw.choice(["seven", "1,2,3;4", "=1+1", "\u221e", "0x1F"])
    elif how == "blank":
        rows = [["", "", ""] for _ in rows]
    text = "\n".join(separator.join(cells) for cells in rows) + "\n"
    if how == "quote":
        text = text.replace(separator, separator + '"', row)
        text = text if text.count('"') % 2 else text + '"'
    return text.replace(".", "\0", row) if how == "nul" else text


def separated(draw: random.Random, folder: Path) -> Path:
    ending = draw.choice([".csv", ".tsv", ".csv.gz"])
    text = table_text(draw, "\t" if ending == ".tsv" else ",")
    encoding = draw.choice(["utf-8", "utf-16-le", "utf-32"]) if "\0" in text else "utf-8"
    content = text.encode(encoding)
    if ending.endswith(".gz"):
        content = damaged(draw, gzip.compress(content, mtime=0))
    return written(folder / f"t{ending}", content)


def json_lines(draw: random.Random, folder: Path) -> Path:
    wrong = [
        "{", "[]", "1", "null", '{"a": 1, "a": [}', "NaN", '{"a": {"b": ' * 400, "[" * 3000, '{"a": 1e999}', '"\\ud800"',
        '{"": 1}',
    ]  # fmt: skip
    lines = [json.dumps({"a": draw.random(), "class": draw.choice("xy")}) for _ in range(6)]
    lines[draw.randrange(6)] = draw.choice(wrong)
    ending = draw.choice([".jsonl", ".json", ".ndjson"])
    return written(folder / f"t{ending}", "\n".join(lines).encode())


def workbook(draw: random.Random, folder: Path) -> Path:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            draw.choice(["xl/workbook.xml", "x.xml", "../../x.xml"]), draw.choice(["<a", "<workbook/>", ""])
        )
    return written(folder / "t.xlsx", damaged(draw, packed.getvalue()) if draw.random() < 0.7 else packed.getvalue())


def parquet(draw: random.Random, folder: Path) -> Path:
    content = b"PAR1" + draw.randbytes(200) + struct.pack("<I", draw.choice([0, 40, 2**31, 2**32 - 1])) + b"PAR1"
    return written(folder / draw.choice(["t.parquet", "t.arrow", "t.feather"]), content)


# -- arrays ---------------------------------------------------------------------------------------------------------


def npy(shape: str, kind: str = "'<f8'", body: bytes = bytes(64)) -> bytes:
    header = f"{{'descr': {kind}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + body


def archive_of_arrays(draw: random.Random, folder: Path) -> Path:
    shapes = [
        "(10**9, 10**9)",
        "(-1, 8)",
        "(8,",
        "(2, 4)",
        "8",
        "None",
        "(0, 4)",
        "(2, 2, 2, 1, 1)",
        "(True, 4)",
        "(8.0, 1)",
    ]
    kinds = [
        "'<f8'",
        "'|O'",
        "'<c16'",
        "'|S8'",
        "'<M8[s]'",
        "[('a', '<f4'), ('b', '<f4')]",
        "'wrong'",
        "'|V8'",
        "'<U2'",
    ]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", draw.choice([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])) as archive:
        for name in draw.choice([("x", "y"), ("x",), ("y",), ("x_train", "y_test"), ("a",)]):
            archive.writestr(f"{name}.npy", npy(draw.choice(shapes), draw.choice(kinds)))
        if draw.random() < 0.2:
            archive.writestr("x", b"no array")
    content = packed.getvalue()
    how = draw.random()
    if how < 0.2:
        content = npy("(8,)")  # an .npy by the name of an .npz
    elif how < 0.4:
        content = content.replace(b"PK\x03\x04\x14\x00\x00", b"PK\x03\x04\x14\x00\x01").replace(
            b"PK\x01\x02\x14\x03\x14\x00\x00", b"PK\x01\x02\x14\x03\x14\x00\x01"
        )  # encrypted, it says
    elif how < 0.7:
        content = damaged(draw, content)
    return written(folder / "a.npz", content)


def mnist_folder(draw: random.Random, folder: Path) -> Path:
    """idx files whose rank or counts lie."""
    place = folder / "idx"
    for part in ("train", "t10k"):
        rank = draw.choice([0, 1, 2, 4, 255])
        sizes = b"".join(struct.pack(">I", draw.choice([0, 1, 3, 2**31, 2**32 - 1])) for _ in range(rank))
        images = bytes([0, 0, draw.choice([8, 9, 13]), rank]) + sizes + bytes(draw.choice([0, 3, 9]))
        written(place / f"{part}-images-idx3-ubyte", images)
        labels = bytes([0, 0, 8, 1]) + struct.pack(">I", draw.choice([3, 2**32 - 1])) + bytes(3)
        written(place / f"{part}-labels-idx1-ubyte", labels)
    return place


def cifar_folder(draw: random.Random, folder: Path) -> Path:
    place = folder / "cifar"
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        written(place / f"{name}.bin", bytes(draw.choice([0, 1, 3072, 3074, 6000])))
    written(place / "batches.meta.txt", b"a\nb\n")
    return place


# -- images and texts -----------------------------------------------------------------------------------------------


def image_folder(draw: random.Random, folder: Path) -> Path:
    """Folders of classes with one damaged image, or one of a size that is not there."""
    form = draw.choice(["png", "jpeg", "gif", "bmp", "tiff", "webp"])
    place = folder / "images"
    for name in ("x", "y"):
        for index in range(3):
            stream = io.BytesIO()
            Image.frombytes("L", (8, 8), draw.randbytes(64)).save(stream, form)
            written(place / name / f"{index}.{form}", stream.getvalue())
    content = draw.choice(
        [
            b"",
            stream.getvalue()[: len(stream.getvalue()) // 3],
            draw.randbytes(300),
            b"\x89PNG\r\n\x1a\n"
            + struct.pack(">I4sIIBBBBB", 13, b"IHDR", 2**31 - 1, 2**31 - 1, 8, 0, 0, 0, 0)
            + bytes(4),
            b"%!PS-Adobe-3.0\n{} loop\n",
            b"<svg xmlns='http://www.w3.org/2000/svg'/>",
            b"P5 99999999 99999999 255\n",
        ]
    )
    return written(place / "x" / f"1.{form}", content).parent.parent


def sentence_folder(draw: random.Random, folder: Path) -> Path:
    """Texts of classes of which one is no text, or a class that is empty."""
    place = folder / "texts"
    for name in ("pos", "neg"):
        for index in range(3):
            written(place / name / f"{index}.txt", b"good words\n")
    content = draw.choice(
        [b"\xff\xfe\x00", b"\x80\x81\xff\xc0", draw.randbytes(80), b"\0\0\0", b"\xed\xa0\x80", b"", b" \n"]
    )
    written(place / "pos" / "1.txt", content)
    return place


def written(file: Path, content: bytes) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


MAKERS: tuple[Maker, ...] = (
    separated, json_lines, workbook, parquet, archive_of_arrays, mnist_folder, cifar_folder, image_folder, sentence_folder,
)  # fmt: skip


# -- words ----------------------------------------------------------------------------------------------------------

# Of a setting: none of these is a value of any but a text.
VALUES = (
    "",
    " ",
    "nan",
    "inf",
    "-inf",
    "1e999",
    "9" * 5000,
    "--",
    "\u0663,x",
    "yes,no,",
    "\U0001f600",
    "[1, 2]",
    "0x10",
    "1_0x",
    "{}",
)


def settings(draw: random.Random, recipes: list[tuple[str, list[str]]]) -> Iterator[list[str]]:
    """`train RECIPE SETTING=VALUE`, a wrong one for each setting that is a number, a choice or yes and no."""
    for recipe, names in recipes:
        for name in names:
            yield ["train", recipe, f"{name}={draw.choice(VALUES)}"]


def commands(draw: random.Random) -> list[list[str]]:
    """Words that are wrong whatever data there are."""
    text = draw.choice(
        ["", " ", "\u0000x", "nowhere", "../x" * 300, "x" * 5000, "digits,", "=", "train=", "http://[", "a\nb"]
    )
    verbs = ("predict", "generate", "evaluate", "explain", "export", "report", "resume", "diagnose")
    return [
        ["train", text], ["train", "mlp", "--data", text], ["train", "mlp", f"--data={text}=x"],
        ["train", "mlp-table", "--data", "iris", "--target", text or "none-of-them"],
        ["train", "mlp", "--val", draw.choice(["2", "-1", "nan", "0", ""])],
        ["train", "mlp", "--seed", draw.choice(["-1", "x", "9" * 30, "1.5", ""])],
        ["train", "mlp", "--weights", text], ["train", "mlp", "--device", text],
        ["train", "mlp", text], ["show", text], ["explain", text], ["data", "check", text], ["data", "get", text],
        *([verb, text, "x"] for verb in verbs), ["export", text, "--to", "nothing"], [text], ["--" + text],
    ]  # fmt: skip


def cells(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def an_array(shape: tuple[int, ...]) -> np.ndarray:
    return np.zeros(shape)
