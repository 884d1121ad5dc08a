"""Tables: what is recognised, how it is split and standardised, and every mistake that a user can make in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits, load_iris
from sklearn.preprocessing import StandardScaler

from chainrule.core.errors import UserError
from chainrule.data.tables.loading import read_table_splits
from chainrule.data.tables.new_rows import read_labelled, read_other, read_rows
from chainrule.data.tables.row_encoder import RowEncoder
from chainrule.data.tables.spec import original_rows

TABLE = "a,b,c,label\n" + "".join(f"{i},{i * i % 7},{(i * 5) % 11},{'xy'[i % 2]}\n" for i in range(40))


def read(source: object, **options: Any) -> tuple[Any, dict[str, Any]]:
    settings: dict[str, Any] = {
        "target": None,
        "task": "density",
        "dtype": torch.float64,
        "standardize": True,
        "drop_constant": True,
        "val_fraction": 0.1,
        "test_fraction": 0.2,
        "seed": 0,
    }
    return read_table_splits(str(source), **(settings | options))


def write(text: str, name: str = "table.csv") -> Path:
    path = Path(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(text)
    return path


def refused(source: object, **options: Any) -> str:
    with pytest.raises(UserError) as caught:
        read(source, **options)
    return str(caught.value)


def test_iris_is_standardised_as_scikit_learn_does() -> None:
    spec, splits = read("iris")
    assert spec.counts == {"train": 108, "val": 12, "test": 30}
    assert spec.classes == ["setosa", "versicolor", "virginica"]
    for split in splits.values():
        assert len(set(torch.bincount(split.y).tolist())) == 1  # as many of each species
    raw = original_rows(splits["train"].x, spec).numpy()
    oracle = StandardScaler().fit(raw)
    np.testing.assert_allclose(splits["train"].x, oracle.transform(raw), atol=1e-10)
    test = oracle.transform(original_rows(splits["test"].x, spec).numpy())
    np.testing.assert_allclose(splits["test"].x, test, atol=1e-10)
    everything = np.concatenate([original_rows(s.x, spec).numpy() for s in splits.values()])
    np.testing.assert_allclose(
        np.sort(everything.round(9), axis=0), np.sort(load_iris().data, axis=0), atol=1e-8
    )  # no row lost


def test_columns_whose_squares_are_out_of_range() -> None:
    """Too small ones are standardised like any other; too large ones are told by their cell, as infinite ones are."""
    rows = [f"{value}e-200,{value}" for value in (1, 2, 4, 7, 3, 5, 6, 9, 8, 2)]
    spec, splits = read(write("\n".join(["tiny,plain", *rows])), val_fraction=0.0)
    tiny, plain = splits["train"].x.T
    torch.testing.assert_close(tiny, plain, rtol=1e-6, atol=1e-6)
    assert spec.std[0] == pytest.approx(spec.std[1] * 1e-200)
    with pytest.raises(UserError, match="its square is beyond float64"):
        read_rows(["1,1e300"], spec)
    for value, dtype, told in (
        ("-1.7976931348623157e308", torch.float64, True),
        ("1.4e154", torch.float64, True),
        ("1.3e154", torch.float64, False),
        ("1e20", torch.float32, True),  # where it is not standardised
    ):
        file = write("\n".join(["a,b", *("1,2" for _ in range(5)), f"{value},3", *("2,4" for _ in range(5))]))
        options: dict[str, Any] = {"dtype": dtype, "standardize": dtype == torch.float64}
        if told:
            said = refused(file, **options)
            assert "its square is beyond" in said and "line 7, column 'a'" in said
        else:
            assert all(torch.isfinite(split.x).all() for split in read(file, **options)[1].values())
    regression: dict[str, Any] = {"task": "regression", "target": "b"}
    wide = write("\n".join(["a,b", *(f"{i},{i}e200" for i in range(1, 12))]))
    assert "a target is too large" in refused(wide, **regression)
    small = read(write("\n".join(["a,b", *(f"{i},{i}e-200" for i in range(1, 12))])), **regression)[0]
    assert small.target_scale["std"] > 1e-200


def test_splits_follow_the_seed() -> None:
    first, again, other = read("wine"), read("wine"), read("wine", seed=1)
    assert first[0] == again[0]
    assert first[0].fingerprint != other[0].fingerprint
    assert "seed 1" in other[0].splits["test"]


def test_constant_columns_of_digits_are_dropped_and_come_back() -> None:
    spec, splits = read("digits")
    digits = load_digits().data
    assert splits["train"].x.shape[1] + len(spec.dropped) == 64
    assert {"pixel_0_0", "pixel_4_0", "pixel_4_7"} <= set(spec.dropped)
    rows = original_rows(splits["test"].x, spec)
    assert rows.shape == (359, 64)
    known = {tuple(row) for row in digits.astype(int).tolist()}
    assert all(tuple(row) in known for row in rows.round().int().tolist())
    assert len(set(spec.std)) == 1  # pixels share a unit
    message = refused("digits", drop_constant=False)
    assert "pixel_0_0" in message
    assert "drop_constant=yes" in message


def test_csv_with_label_named_target_or_none() -> None:
    spec, splits = read(write(TABLE))
    assert (spec.columns, spec.classes, spec.target) == (["a", "b", "c"], ["x", "y"], "label")
    assert read(write(TABLE.replace("label", "kind")), target="kind")[0].columns == ["a", "b", "c"]
    assert "column 'label'" in refused(write(TABLE), target="c")  # then the labels are a column of x, and not numeric
    spec, splits = read(write("a;b\n" + "".join(f"{i};{i % 3}\n" for i in range(10))))
    assert (spec.columns, spec.classes, splits["train"].y) == (["a", "b"], None, None)
    assert spec.splits["train"] == "the rest"


def test_labels_that_cannot_stratify_are_forgotten_by_density_only() -> None:
    text = "a,label\n" + "".join(f"{i},{i}\n" for i in range(20))
    assert read(write(text))[0].classes is None
    assert "too few rows" in refused(write(text), task="classification")


def test_classification_takes_the_last_column_and_regression_numbers() -> None:
    path = write(TABLE.replace("label", "kind"))
    spec, splits = read(path, task="classification", dtype=torch.float32)
    assert (spec.target, spec.classes) == ("kind", ["x", "y"])
    assert splits["train"].x.dtype == torch.float32
    assert splits["train"].y.dtype == torch.int64
    path = write("a,b\n" + "".join(f"{i},{i / 2}\n" for i in range(20)))
    spec, splits = read(path, task="regression", standardize=False)
    assert torch.equal(splits["train"].y, splits["train"].x[:, 0] / 2)
    assert "a target is not numeric" in refused(
        write("a,b\n" + "".join(f"{i},v\n" for i in range(9))), task="regression"
    )


def test_a_folder_keeps_its_own_splits_and_column_order_is_by_name() -> None:
    write("a,b\n1,2\n3,5\n5,5\n", "folder/train.csv")
    write("b,a\n6,7\n", "folder/val.csv")
    write("a,b\n8,9\n", "folder/test.csv")
    spec, splits = read("folder", standardize=False)
    assert splits["val"].x.tolist() == [[7.0, 6.0]]
    assert set(spec.splits.values()) == {"as published"}
    write("a,c\n8,9\n", "folder/test.csv")
    assert "different columns" in refused("folder")


def test_npz() -> None:
    x, y = np.random.default_rng(0).normal(size=(30, 3)), np.arange(30) % 3
    np.savez("t.npz", x=x, y=y)
    spec, splits = read("t.npz")
    assert (spec.classes, sum(len(s) for s in splits.values())) == (["0", "1", "2"], 30)
    np.savez("t.npz", x_train=x, x_test=x[:4])
    spec, splits = read("t.npz", standardize=False)
    np.testing.assert_array_equal(splits["test"].x, x[:4])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.array([[1, "a"]], dtype=object)}, "a pickle"),
        ({"x": np.zeros(5)}, "x[:, None]"),
        ({"x": np.zeros((5, 2), dtype="U1")}, "is not numeric"),
        ({"x": np.array([[1.0, 2.0], [np.nan, 1.0]])}, "x[1, 0]"),
        ({"x": np.zeros((5, 2)), "y": np.zeros((5, 1))}, "y[:, 0]"),
        ({"z": np.zeros((5, 2))}, "lacks its arrays"),
        ({"x": np.zeros((5, 2)), "x_test": np.zeros((5, 3))}, "different columns"),
    ],
)
def test_npz_mistakes(arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez("t.npz", **arrays)
    assert said in refused("t.npz")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the table is empty"),
        ("a,b\n", "the table is empty"),
        ("1,2\n3,4\n", "the first line holds numbers"),
        ("a,a\n3,4\n", "two columns have one name"),
        ("a,b\n1,2\n\n3\n", "line 4"),
        ("a,b\n1,2\n3,x\n", "line 3, column 'b'"),
        ("a,b\n1,2\n3,\n", "an empty cell"),
        ("a,b\n1,nan\n3,4\n", "line 2, column 'b'"),
        ("a,b\n1,inf\n3,4\n", "missing or infinite"),
        ('a,b\n1,"2\n3,4\n', "cannot be read"),
        ("a,b\n1,2\n1,2\n1,2\n1,2\n1,2\n", "every column is constant"),
        ("a,b\n1,2\n", "too few rows"),
        ("label\n1\n2\n", "no column beside its target"),
    ],
)
def test_csv_mistakes(text: str, said: str) -> None:
    assert said in refused(write(text))


def test_other_mistakes() -> None:
    assert "no column 'speces'" in refused(write(TABLE), target="speces")
    assert "this is not a table" in refused(write("a", "notes.rst"))
    Path("bytes.csv").write_bytes(b"a,b\n\xff\xfe,1\n")
    assert "cannot be read" in refused("bytes.csv")
    assert "a set of text" in refused("pydoc-topics")
    one = "a,label\n" + "".join(f"{i},x\n" for i in range(9))
    assert "only one class" in refused(write(one), task="classification")
    write("a,label\n1,x\n2,y\n3,x\n4,y\n", "f/train.csv")
    write("a,label\n1,z\n", "f/test.csv")
    assert "out of range" in refused("f", task="classification")
    assert read("f")[0].classes is None


def test_rows_of_the_user() -> None:
    spec, _ = read(write(TABLE.replace("a,b,c", "a,b,k")))
    path = write("label,k,b,a,more\nx,1,2,3,text\n", "rows.csv")
    names, x = read_rows([str(path), "3,2,1"], spec)
    assert names == ["rows.csv, line 2", "3,2,1"]
    torch.testing.assert_close(x[0], x[1])
    torch.testing.assert_close(x[:1], RowEncoder(spec)(torch.tensor([[3.0, 2.0, 1.0]])))
    for bad, said in (("1,2", "wrong number of values"), ("1,2,z", "column 'k'"), ("none.csv", "no such file")):
        with pytest.raises(UserError, match=said):
            read_rows([bad], spec)
    with pytest.raises(UserError, match="lacks columns"):
        read_rows([str(write("a,b\n1,2\n", "rows.csv"))], spec)
    assert len(read_other(str(path.with_name("table.csv")), None, spec)) == 40
    with pytest.raises(UserError, match="lacks columns"):
        read_other("iris", None, spec)


# -- categories and missing values ------------------------------------------------------------------------------


def people(path: Path, rows: list[str] | None = None) -> Path:
    file = path / "people.csv"
    lines = rows or [f"{20 + i},{['red', 'blue', 'green'][i % 3]},{i % 7},{3 * i + (i % 3)}" for i in range(40)]
    file.write_text("age,colour,children,income\n" + "\n".join(lines) + "\n", "utf-8")
    return file


def read_people(file: Path, **options: Any) -> Any:
    return read(file, **({"task": "regression", "encode": True, "missing": "fill", "dtype": torch.float64} | options))


def test_categories_are_a_feature_each(tmp_path: Path) -> None:
    from sklearn.preprocessing import OneHotEncoder

    spec, splits = read_people(people(tmp_path), standardize=False)
    assert spec.features == ["age", "colour=blue", "colour=green", "colour=red", "children"] and spec.target == "income"
    x = splits["train"].x
    ages = x[:, 0].long() - 20
    colours = np.array(["red", "blue", "green"])[ages.numpy() % 3].reshape(-1, 1)
    assert np.array_equal(x[:, 1:4].numpy(), OneHotEncoder(sparse_output=False).fit_transform(colours))
    torch.testing.assert_close(splits["train"].y, (3 * ages + ages % 3).double())


def test_text_is_refused_unless_it_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a cell is not numeric") as error:
        read_people(people(tmp_path), encode=False, missing="refuse")
    assert "line 2, column 'colour'" in str(error.value) and "red" in str(error.value)


def test_missing_values_are_filled_from_the_training_split(tmp_path: Path) -> None:
    lines = [f"{'?' if i % 5 == 0 else 20 + i},{'' if i == 3 else 'ab'[i % 2]},{i % 4},{i}" for i in range(60)]
    spec, splits = read_people(people(tmp_path, lines), standardize=False)
    known = [float(v) for v in splits["train"].x[:, 0] if v != spec.fill["age"]]
    assert spec.fill["age"] == pytest.approx(np.mean(known)) and not any(
        torch.isnan(s.x).any() for s in splits.values()
    )
    everything = torch.cat([s.x for s in splits.values()])
    y = torch.cat([s.y for s in splits.values()])
    assert everything[y == 3][0, 1:3].tolist() == [0.0, 0.0], "a missing category is none of them"
    with pytest.raises(UserError, match="a value is missing") as error:
        read_people(people(tmp_path, lines), missing="refuse")
    assert "line 2, column 'age'" in str(error.value) and "missing=fill" in str(error.value)


def test_a_column_of_names_is_no_category(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="200 distinct texts") as error:
        read_people(people(tmp_path, [f"1,name{i},2,{i}" for i in range(200)]))
    assert "'colour'" in str(error.value) and "ignore=colour" in str(error.value)


def test_rows_of_the_user_with_categories(tmp_path: Path) -> None:
    spec, splits = read_people(people(tmp_path))
    names, x = read_rows(["33,green,6", "33,green,"], spec)
    ages = splits["train"].x[:, 0] * spec.std[0] + spec.mean[0]
    assert x.shape == (2, 5) and names == ["33,green,6", "33,green,"] and 20 <= ages.min() <= ages.max() < 60
    torch.testing.assert_close(x[1, 4], torch.tensor((spec.fill["children"] - spec.mean[4]) / spec.std[4]).double())
    with pytest.raises(UserError, match="a category is not known") as error:
        read_rows(["33,grene,6"], spec)
    assert "blue, green, red" in str(error.value)


def test_other_labelled_data_by_the_categories_of_the_run(tmp_path: Path) -> None:
    """Another file may have fewer categories, so other numbers for them, and columns in another order."""
    spec, _ = read_people(people(tmp_path))
    other = tmp_path / "other.csv"
    other.write_text("income,colour,age,children\n7,red,25,1\n9,green,30,2\n", "utf-8")
    split = read_labelled(str(other), None, spec, torch.float64)
    torch.testing.assert_close(split.x, read_rows(["25,red,1", "30,green,2"], spec)[1])
    assert split.y.tolist() == [7.0, 9.0]
    other.write_text("income,colour,age,children\n7,red,25,1\n9,pink,30,2\n", "utf-8")
    with pytest.raises(UserError, match="a category is not known") as error:
        read_labelled(str(other), None, spec, torch.float64)
    assert "line 3, column 'colour'" in str(error.value) and "pink" in str(error.value)


def test_labels_of_other_data_are_those_of_the_run(tmp_path: Path) -> None:
    spec, _ = read("iris", task="classification")
    header = ",".join(spec.columns)
    file = tmp_path / "flowers.csv"
    file.write_text(f"{header},label\n5,3,1,0.2,setosa\n6,3,5,2,virginica\n", "utf-8")
    assert read_labelled(str(file), None, spec, torch.float32).y.tolist() == [0, 2]
    file.write_text(f"{header},label\n5,3,1,0.2,setosa\n6,3,5,2,rose\n", "utf-8")
    with pytest.raises(UserError, match="none of those") as error:
        read_labelled(str(file), None, spec, torch.float32)
    assert "line 3" in str(error.value) and "rose" in str(error.value)


def test_published_tables_without_a_line_of_names(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [f"{'MFI'[i % 3]},{','.join(f'{v:.3f}' for v in rng.random(7))},{i % 9}" for i in range(30)]
    (tmp_path / "abalone.csv").write_text("\n".join(rows) + "\n", "utf-8")
    spec, _ = read_people(tmp_path / "abalone.csv")
    assert spec.target == "rings" and spec.features[:4] == ["sex=F", "sex=I", "sex=M", "length"]
    assert sum(spec.counts.values()) == 30, "the first line is a row"


def test_images_as_rows_of_pixels(tmp_path: Path) -> None:
    from tests.data.image_sets import idx_folder

    folder = idx_folder(tmp_path / "digits")
    spec, splits = read(folder, task="classification", standardize=False, drop_constant=False)
    assert spec.image and spec.features[0] == "pixel0" and splits["test"].x.max() > 1
