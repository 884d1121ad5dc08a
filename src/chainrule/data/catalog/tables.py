"""Known tables. Several were published without a line of column names; those names stand here."""

from __future__ import annotations

from chainrule.data.catalog.record import BY_SEED, UCI, Source

CSV_FILES = "https://raw.githubusercontent.com/jbrownlee/Datasets/master/"


def _from_sklearn(name: str, content: str, licence: str = UCI) -> Source:
    return Source(name, "table", content, BY_SEED, licence, shipped_with="scikit-learn")


def _of_the_plane(name: str, classes: str) -> Source:
    content = f"500 points of the plane, 2 classes: {classes}"
    return Source(name, "table", content, BY_SEED, "made by a formula", shipped_with="Chainrule")


def _csv(name: str, content: str, file: str, sha256: str, columns: str, licence: str = UCI) -> Source:
    names = tuple(columns.split())
    return Source(name, "table", content, BY_SEED, licence, CSV_FILES, {file: sha256}, folder="tabular", columns=names)


_WINE = (
    "fixed_acidity volatile_acidity citric_acid residual_sugar chlorides free_sulfur_dioxide total_sulfur_dioxide "
    "density ph sulphates alcohol quality"
)

SOURCES = (
    _from_sklearn("iris", "150 flowers, 4 measurements, 3 species"),
    _from_sklearn("wine", "178 wines, 13 measurements, 3 cultivars"),
    _from_sklearn("breast-cancer", "569 tumours, 30 measurements, 2 diagnoses"),
    _from_sklearn(
        "diabetes",
        "442 patients, 10 measurements, the progress of diabetes in a year",
        "none stated (Efron et al. 2004)",
    ),
    _csv(
        "abalone",
        "4,177 abalones, sex and 7 measurements, rings",
        "abalone.csv",
        "eb2de13be807e9bb9ec4128b9c89b98ab23d7739121cfd17b7dde69b46ba7bf6",
        "sex length diameter height whole_weight shucked_weight viscera_weight shell_weight rings",
    ),
    _csv(
        "banknote",
        "1,372 banknotes, 4 measurements of an image, genuine or forged",
        "banknote_authentication.csv",
        "d0539aaed2139ba7a587b3e34fb345ce503ff7d5d33dbf9912d8e195ce425cb9",
        "variance skewness curtosis entropy label",
    ),
    _csv(
        "boston-housing",
        "506 districts, 13 figures (one contested: b), median value of homes",
        "boston_housing.csv",
        "2682ca02e83b89467d7d0cdcbde7c0cc4d2566119be8ce8d84dad4f0fa20859a",
        "crim zn indus chas nox rm age dis rad tax ptratio b lstat medv",
        licence="public (StatLib)",
    ),
    _csv(
        "sonar",
        "208 echoes, 60 bands, rock or mine",
        "sonar.csv",
        "3079c09b5d2789a0f96aff82c28e5164fafe2495c5f8da96c6c256c1bd25763f",
        " ".join(f"band{i}" for i in range(1, 61)) + " label",
    ),
    _csv(
        "wine-quality-red",
        "1,599 red wines, 11 measurements, quality",
        "winequality-red.csv",
        "c9614512e980f1cbd221c796daa97f00c4898c3cd1716863abac60f6cd1a522e",
        _WINE,
    ),
    _csv(
        "wine-quality-white",
        "4,898 white wines, 11 measurements, quality",
        "winequality-white.csv",
        "659d419fff887f225bf977d20520bb64a64cae203e460087f809721d4430ba27",
        _WINE,
    ),
    Source(
        "california-housing",
        "table",
        "20,640 blocks, 8 figures of the census of 1990, median value of houses",
        BY_SEED,
        "public (StatLib)",
        "https://www.dcc.fc.up.pt/~ltorgo/Regression/cal_housing.tgz",
        {"cal_housing.data": "a2b44dcc7e1c9091b43c4f458b25cbd1f7e8068d08edd26bc4703108d3fa6214"},
        folder="tabular",
        columns=(
            *("longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms", "population"),
            *("households", "median_income", "median_house_value"),
        ),
    ),
    _of_the_plane("xor", "squares, opposite ones alike"),
    _of_the_plane("circle", "a disc within a ring"),
    _of_the_plane("spiral", "two arms that wind about each other"),
    _of_the_plane("moons", "two half circles that reach into each other"),
    _of_the_plane("blobs", "two clouds that a line tells apart"),
)
