"""Published tables whose files have no line of column names: the names, and what is usually predicted."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class KnownTable:
    """The published file; its columns where the file does not name them; the last of them is the usual target."""

    file: str
    columns: tuple[str, ...] = ()


_WINE = (
    "fixed_acidity",
    "volatile_acidity",
    "citric_acid",
    "residual_sugar",
    "chlorides",
    "free_sulfur_dioxide",
    "total_sulfur_dioxide",
    "density",
    "ph",
    "sulphates",
    "alcohol",
    "quality",
)

KNOWN_TABLES = {
    "abalone": KnownTable(
        "abalone.csv",
        (
            "sex",
            "length",
            "diameter",
            "height",
            "whole_weight",
            "shucked_weight",
            "viscera_weight",
            "shell_weight",
            "rings",
        ),
    ),
    "banknote": KnownTable("banknote_authentication.csv", ("variance", "skewness", "curtosis", "entropy", "label")),
    "boston-housing": KnownTable(
        "boston_housing.csv",
        ("crim", "zn", "indus", "chas", "nox", "rm", "age", "dis", "rad", "tax", "ptratio", "b", "lstat", "medv"),
    ),
    "california-housing": KnownTable(
        "cal_housing.data",
        (
            "longitude",
            "latitude",
            "housing_median_age",
            "total_rooms",
            "total_bedrooms",
            "population",
            "households",
            "median_income",
            "median_house_value",
        ),
    ),
    "sonar": KnownTable("sonar.csv", (*(f"band{i}" for i in range(1, 61)), "label")),
    "wine-quality-red": KnownTable("winequality-red.csv", _WINE),
    "wine-quality-white": KnownTable("winequality-white.csv", _WINE),
    "airline-passengers": KnownTable("airline-passengers.csv"),
    "sunspots": KnownTable("monthly-sunspots.csv"),
    "melbourne-temperatures": KnownTable("daily-min-temperatures.csv"),
}
