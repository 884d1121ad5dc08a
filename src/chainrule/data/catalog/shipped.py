"""The small tables that scikit-learn ships, read from its files: to import the package takes longer than most of them learn."""

from __future__ import annotations

import functools
import gzip
import importlib.util
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from chainrule.core.errors import UserError

_MEASURES = "radius,texture,perimeter,area,smoothness,compactness,concavity,concave points,symmetry,fractal dimension"
_WINE = (
    "alcohol,malic_acid,ash,alcalinity_of_ash,magnesium,total_phenols,flavanoids,nonflavanoid_phenols,proanthocyanins,"
    "color_intensity,hue,od280/od315_of_diluted_wines,proline"
)
COLUMNS = {
    "digits": tuple(f"pixel_{row}_{column}" for row in range(8) for column in range(8)),
    "iris": ("sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"),
    "wine": tuple(_WINE.split(",")),
    "breast-cancer": tuple(
        form.format(measure) for form in ("mean {}", "{} error", "worst {}") for measure in _MEASURES.split(",")
    ),
    "diabetes": ("age", "sex", "bmi", "bp", "s1", "s2", "s3", "s4", "s5", "s6"),
}
_FILES = {"iris": "iris.csv", "wine": "wine_data.csv", "breast-cancer": "breast_cancer.csv"}


@dataclass(frozen=True)
class ShippedTable:
    """Rows (N, D), a number a row to predict (of a class: its own), names of the classes, if any, and of the columns."""

    x: np.ndarray
    y: np.ndarray
    classes: tuple[str, ...]
    columns: tuple[str, ...]


def shipped_folder() -> Path:
    """Where scikit-learn keeps its data sets, `data` and `images` in it. The package is found, and not imported."""
    found = importlib.util.find_spec("sklearn")
    if found is None or not found.submodule_search_locations:
        raise UserError("scikit-learn, which ships this set, is not installed", cure="pip install scikit-learn")
    return Path(found.submodule_search_locations[0]) / "datasets"


def shipped_table(name: str) -> ShippedTable:
    """What `sklearn.datasets.load_...` gives, number for number.

    >>> table = shipped_table("iris")
    >>> table.x.shape, table.classes, table.columns[0]
    ((150, 4), ('setosa', 'versicolor', 'virginica'), 'sepal length (cm)')
    """
    folder, columns = shipped_folder() / "data", COLUMNS[name]
    if name == "diabetes":
        x = _standardized(_rows(folder / "diabetes_data_raw.csv.gz"))
        return ShippedTable(x, _rows(folder / "diabetes_target.csv.gz"), (), columns)
    if name == "digits":
        both = _rows(folder / "digits.csv.gz", ",")
        return ShippedTable(both[:, :-1], both[:, -1].astype(np.int64), tuple(map(str, range(10))), columns)
    with (folder / _FILES[name]).open(encoding="utf-8") as file:
        _, _, *classes = file.readline().strip().split(",")  # rows, columns, classes
        both = np.loadtxt(file, delimiter=",")
    return ShippedTable(np.ascontiguousarray(both[:, :-1]), both[:, -1].astype(np.int64), tuple(classes), columns)


def _rows(file: Path, delimiter: str | None = None) -> np.ndarray:
    return _parsed(file, delimiter).copy()


@functools.cache
def _parsed(file: Path, delimiter: str | None) -> np.ndarray:
    """Read once a process: the digits are 1 MB, and a fifth of a second as text."""
    with gzip.open(file, "rt", encoding="utf-8") as stream:
        return np.loadtxt(stream, delimiter=delimiter)


def _standardized(x: np.ndarray) -> np.ndarray:
    """Columns of mean 0 and length 1, in scikit-learn's order of operations."""
    return (x - x.mean(0)) / x.std(0) / x.shape[0] ** 0.5
