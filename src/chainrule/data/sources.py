"""Known data sets: where their files are, or how to get them. A name resolves to a folder; a path to itself.

The order: a path; what ships inside a dependency; the mirrors below CHAINRULE_DATA; the cache; the official address.
"""

from __future__ import annotations

import hashlib
import os
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.errors import UserError, unknown


@dataclass(frozen=True)
class Source:
    """A published data set.

    `files` maps official file names to their SHA-256. Where `address` is that of an archive, which holds the files, the
    sum is that of the archive, `archive_sha256`.
    """

    name: str
    kind: str
    content: str
    split: str
    licence: str
    address: str = ""
    files: dict[str, str | None] = field(default_factory=dict)
    archive_sha256: str | None = None
    shipped_with: str = ""


_MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

SOURCES = {
    source.name: source
    for source in (
        Source("digits", "images", "8x8 grey handwritten digits, 1,797", "none: made by the seed", "CC BY 4.0 (UCI)", shipped_with="scikit-learn"),
        Source("iris", "table", "150 flowers, 4 measurements, 3 species", "none: made by the seed", "CC BY 4.0 (UCI)", shipped_with="scikit-learn"),
        Source("wine", "table", "178 wines, 13 measurements, 3 cultivars", "none: made by the seed", "CC BY 4.0 (UCI)", shipped_with="scikit-learn"),
        Source("pydoc-topics", "text", "the reference manual of Python in plain text, about 465,000 characters", "none: the last 10 % are held out", "PSF", shipped_with="Python"),
        Source(
            "mnist", "images", "28x28 grey handwritten digits, 70,000", "60,000 / 10,000", "CC BY-SA 3.0",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            dict(zip(_MNIST_FILES, (
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ), strict=True)),
        ),
        Source(
            "fashion-mnist", "images", "28x28 grey clothing, 10 classes, 70,000", "60,000 / 10,000", "MIT",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            dict(zip(_MNIST_FILES, (
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ), strict=True)),
        ),
        Source(
            "cifar10", "images", "32x32 RGB, 10 classes, 60,000", "50,000 / 10,000", "none stated; cite Krizhevsky 2009",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            {f"cifar-10-batches-bin/{name}": None for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt")},
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        Source(
            "tiny-shakespeare", "text", "1,115,394 characters, 65 distinct", "none: the last 10 % are held out", "public domain",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
            {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
        ),
    )
}  # fmt: skip


def cache_folder() -> Path:
    """Where fetched data sets are kept: CHAINRULE_CACHE, else the user's cache folder."""
    default = (
        Path(os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "chainrule"
    )
    return Path(os.environ.get("CHAINRULE_CACHE") or default)


def find(name: str) -> Path | None:
    """The folder that holds a known data set's files, or None where it must be fetched first."""
    source = SOURCES[name]
    mirrors = os.environ.get("CHAINRULE_DATA")
    for root in [Path(mirrors)] if mirrors else []:
        if all((root / name / file).is_file() for file in source.files):
            return root / name
    folder = cache_folder() / name
    return folder if all((folder / file).is_file() for file in source.files) else None


def resolve(name: str) -> Source | Path:
    """A path to the user's own data, or a Source that ships with a dependency, or the folder of a known data set."""
    if Path(name).exists():
        return Path(name)
    if name not in SOURCES:
        raise unknown(
            "there is no data set and no path", name, SOURCES, expected="a path, or one of ", cure="chainrule data list"
        )
    source = SOURCES[name]
    if source.shipped_with:
        return source
    return find(name) or get(name)


def get(name: str) -> Path:
    """Fetches a known data set into the cache and checks it; the error names file, address and where to put it."""
    if name not in SOURCES:
        raise unknown("there is no data set", name, SOURCES)
    source, folder = SOURCES[name], cache_folder() / name
    if source.shipped_with:
        raise UserError(f"{name} ships with {source.shipped_with}: there is nothing to fetch")
    if source.address.endswith(".tar.gz"):
        return _get_archive(source, folder)
    for file, digest in source.files.items():
        if not (folder / file).is_file():
            _fetch(source.address + file, folder / file, digest, name)
    return folder


def _get_archive(source: Source, folder: Path) -> Path:
    import tarfile

    archive = folder / source.address.rpartition("/")[2]
    if not archive.is_file():
        _fetch(source.address, archive, source.archive_sha256, source.name)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    archive.unlink()
    return folder


def _fetch(address: str, file: Path, digest: str | None, name: str) -> None:
    mirrors = os.environ.get("CHAINRULE_DATA")
    place = Path(mirrors) / name if mirrors else cache_folder() / name
    try:
        with urllib.request.urlopen(address, timeout=30) as reply:  # an address from the table above
            content = reply.read()
    except OSError as error:
        raise UserError(
            f"the data set {name!r} is not here and could not be fetched", where=address, found=getattr(error, "reason", error),
            cure=f"put {file.name} into {place}, or set CHAINRULE_DATA to a folder that has {name}/{file.name}",
        ) from None  # fmt: skip
    found = hashlib.sha256(content).hexdigest()
    if digest is not None and found != digest:
        raise UserError(
            "a fetched file is not the published one", where=address, expected=f"SHA-256 {digest}", found=found
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.partial")
    partial.write_bytes(content)
    partial.replace(file)
