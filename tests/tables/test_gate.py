import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import CausalWarning, Feature, Schema
from workbench.core.errors import DataError
from workbench.tables.gate import align, table
from workbench.tables.repeats import warn_of_repeats

N = 12
X = np.linspace(1, 2, N)


def frame(**more):
    return pd.DataFrame({"x": X, **more}, index=[f"r{i}" for i in range(N)])


def put(values, at, value):
    out = list(values)
    out[at] = value
    return out


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (
            frame(z=put(X, 3, np.inf)),
            r"'z': has 1 infinite value \(first at row 'r3': inf\)",
        ),
        (frame(z=put(X, 2, -np.inf)), "'z'.*row 'r2': -inf"),
        (frame(z=X + 1j), "'z': holds complex numbers.*'r0'"),
        (frame(z=[str(v) for v in X]), "'z': holds numbers stored as text.*'r0'.*to_numeric"),
        (frame(z=put(X, 5, "x")), "'z': mixes texts and numbers.*'r5': 'x'"),
        (frame(z=put(["a"] * N, 4, 3.5)), "'z': mixes texts and numbers.*'r4': 3.5"),
        (frame(z=put(["a"] * N, 4, [1])), r"'z': holds list objects.*'r4': \[1\]"),
        (frame(z=pd.to_timedelta(np.arange(N), unit="h")), "'z': holds dates"),
        (pd.concat([frame(), frame()], axis=1), "'x': appears 2 times"),
        (frame().iloc[:0], "has 0 rows"),
        (frame().iloc[:, :0], "no columns"),
        (frame().set_axis(pd.MultiIndex.from_tuples([("a", "b")]), axis=1), "several levels"),
        (frame(**{"": X}), "no name"),
        (np.zeros((0, 3)), "0 rows"),
        (np.zeros((3, 0)), "no columns"),
        (np.zeros((2, 2, 2)), "one or two dimensions"),
        ("text", "DataFrame or an array"),
        (None, "DataFrame or an array"),
        (3.0, "DataFrame or an array"),
        ([[1, 2], [3]], "can't be read as a table"),
    ],
)
def test_what_is_no_table_is_refused_with_its_place(data, message):
    with pytest.raises(DataError, match=message):
        table(data)


def test_a_clean_copy_in_canonical_types(people, untouched):
    checked = table(untouched(people), canonical=True)
    assert checked.names == sorted(people.columns)
    assert checked.frame["visits"].dtype == float
    assert list(checked.frame["sex"].cat.categories) == ["f", "m"]
    assert checked.schema.names == tuple(checked.names)
    checked.frame.loc[0, "age"] = 0.0


@pytest.mark.parametrize(
    "values",
    [
        pd.array(put(range(N), 3, None), dtype="Int64"),
        pd.array(put(X, 3, None), dtype="Float64"),
        pd.array(put(X, 3, None), dtype="float64[pyarrow]"),
        put(X, 3, np.nan),
    ],
    ids=lambda v: str(getattr(v, "dtype", "list")),
)
def test_gaps_of_every_type_become_nan(values):
    column = table(frame(z=values)).frame["z"]
    assert column.dtype == float
    assert column.isna().tolist() == [i == 3 for i in range(N)]


@pytest.mark.parametrize("dtype", ["object", "string", "string[pyarrow]", "category", "str"])
def test_texts_of_every_type_become_the_same_levels(dtype):
    values = pd.Series(["b", "a", None] * 4, dtype=dtype)
    column = table(pd.DataFrame({"z": values})).frame["z"]
    assert list(column.cat.categories) == ["a", "b"]
    assert column.isna().sum() == 4


@pytest.mark.parametrize("values", [[True, False], [1.0, 0.0], pd.array([1, 0], dtype="Int64")])
def test_levels_are_known_by_equality(values):
    schema = Schema([Feature("phone", "binary", levels=(0, 1))])
    assert table(pd.DataFrame({"phone": values}), schema=schema).frame["phone"].tolist() == [1, 0]


def test_dates_are_the_time_of_a_row():
    days = pd.date_range("2024-01-01", periods=N, tz="UTC")
    checked = table(frame(day=days))
    assert checked.schema["day"].role == "time"
    schema = Schema([Feature("x"), Feature("day")])
    with pytest.raises(DataError, match="'day': holds dates.*role='time'"):
        table(frame(day=days), schema=schema)


def test_schema_is_enforced():
    schema = Schema([Feature("x", bounds=(0, 1.5)), Feature("z", "categorical", levels=("a", "b"))])
    with pytest.raises(DataError, match=r"'x': has 6 values above its bounds \(0.0, 1.5\).*'r6'"):
        table(frame(z=["a"] * N), schema=schema)
    with pytest.raises(DataError, match="'z'.*not known.*'r2': 'c'"):
        table(frame(z=put(["a"] * N, 2, "c")), schema=schema.correct(x={"bounds": None}))


def test_missing_value_policies():
    df = frame(z=put(X, 3, np.nan))
    schema = Schema.infer(df)
    assert len(table(df, schema=schema)) == N
    with pytest.warns(CausalWarning, match="1 row of 12 dropped.*'z'"):
        assert len(table(df, schema=schema.correct(z={"missing": "drop"}))) == N - 1
    with pytest.raises(DataError, match="'z': has 1 missing value.*'r3'"):
        table(df, schema=schema.correct(z={"missing": "refuse"}))
    all_empty = frame(z=[np.nan] * N)
    with pytest.warns(CausalWarning), pytest.raises(DataError, match="'z'.*0 rows left"):
        table(all_empty, schema=Schema.infer(all_empty).correct(z={"missing": "drop"}))


def test_columns_are_chosen_by_name():
    assert table(frame(z=X), columns=["z"]).names == ["z"]
    with pytest.raises(DataError, match="'incme'.*Did you mean 'income'"):
        table(frame(income=X), columns=["incme"])


def test_arrays_are_taken_as_they_come():
    checked = table(np.arange(36.0).reshape(3, 12), canonical=True)
    assert checked.names == [f"x{i}" for i in range(12)] and not checked.named
    assert table(np.arange(3.0)).names == ["x0"]


def test_other_names_become_text():
    assert table(pd.DataFrame(np.eye(3))).names == ["0", "1", "2"]
    with pytest.raises(DataError, match="'1': appears 2 times"):
        table(pd.DataFrame(np.eye(2), columns=["1", 1]))


def test_rows_are_matched_by_label():
    left = frame()
    shuffled = left.sample(frac=1, random_state=0)
    pd.testing.assert_frame_equal(align(left, shuffled, "Y", "T"), left)
    with pytest.raises(DataError, match="'x': Y has 11 rows and T 12"):
        align(left, left.iloc[1:], "Y", "T")
    with pytest.raises(DataError, match="different index labels.*row 'r0'"):
        align(left, left.set_axis(range(N)), "Y", "T")
    zeros = left.set_axis([0] * N)
    assert align(zeros, zeros, "Y", "T") is zeros
    with pytest.raises(DataError, match="some repeat"):
        align(left, zeros, "Y", "T")


def test_huge_numbers_far_from_zero_are_kept():
    values = 1e15 + np.arange(N) * 1e9
    assert (table(frame(z=values)).frame["z"] == values).all()


def repeats(frame):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_repeats(frame)
    return [str(w.message) for w in caught]


def test_repeated_rows_of_whole_numbers_are_told():
    rng = np.random.default_rng(0)
    names = ["salary", "price", "sqm"]
    once = pd.DataFrame({k: rng.integers(20_000, 90_000, 100) for k in names})
    (message,) = repeats(pd.concat([once] * 10, ignore_index=True))
    assert "900 rows of 1,000" in message and "row 100)" in message
    alone = pd.DataFrame({"x": rng.normal(size=200), "arm": rng.integers(0, 2, 200)})
    assert repeats(pd.concat([alone] * 2)) and not repeats(alone)
    rounded = pd.DataFrame(rng.normal(size=(100, 3)).round(1), columns=list("abc"))
    assert repeats(pd.concat([rounded] * 5)) and repeats(pd.concat([rounded + 0.05] * 5))


def test_rows_that_chance_repeats_are_not():
    rng = np.random.default_rng(0)
    n = 2000
    age = rng.integers(18, 80, n)
    levels = pd.DataFrame({f"v{j}": rng.integers(0, 2, n) for j in range(4)})
    assert not repeats(levels)
    assert not repeats(levels.assign(age=age))
    assert not repeats(levels.assign(age=age, months=12 * age))
    same = pd.DataFrame({f"v{j}": levels["v0"] for j in range(12)})
    assert not repeats(same.assign(age=age))


def test_decimal_commas_are_refused_with_what_to_do():
    commas = [f"{x:.3f}".replace(".", ",") for x in X]
    with pytest.raises(DataError, match="'z': holds numbers with a decimal comma.*decimal=','"):
        table(frame(z=commas))
    schema = Schema([Feature("z", "categorical", levels=tuple(commas))])
    assert table(frame(z=commas), schema=schema).schema["z"].kind == "categorical"
    assert table(frame(z=["1,2", "3,4", "1,2"] * 4)).schema["z"].kind == "binary"


def test_what_is_no_table_is_told_apart():
    x = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    with pytest.raises(DataError, match=r"X\.iloc\[\[0\]\]"):
        table(x.iloc[0], columns=["a", "b"])
    with pytest.raises(DataError, match=r"df\['a'\]"):
        table("a")
