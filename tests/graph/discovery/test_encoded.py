import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import Knowledge, Schema
from workbench.core.errors import CausalWarning, DataError
from workbench.graph.discovery.design import prepare, reduce
from workbench.graph.discovery.encoded import encode
from workbench.graph.discovery.independence import GaussianTest
from workbench.graph.discovery.plain import plain_table


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CausalWarning)
        yield


def numbers(rng, n=300, d=5):
    return pd.DataFrame(rng.normal(size=(n, d)) @ rng.normal(size=(d, d)), columns=list("edcba"))


def same(first, second):
    assert (first.names, first.shown, first.rows) == (second.names, second.shown, second.rows)
    assert first.left_out == second.left_out
    if len(first.names) == len(first.correlation):
        np.testing.assert_allclose(first.correlation, second.correlation, rtol=1e-9, atol=1e-12)
    else:
        questions = np.arange(1, len(first.names) - 1), np.array([[len(first.names) - 1]])
        answers = [GaussianTest(d).log_p(0, *questions) for d in (first, second)]
        np.testing.assert_allclose(*answers, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("shift, scale", [(0, 1), (1e9, 1), (0, 1e-80), (-3, 1e80), (1e6, 1e-6)])
def test_plain_tables_are_reduced_as_the_gate_does_it(shift, scale):
    df = numbers(np.random.default_rng(0)) * scale + shift
    assert plain_table(df, 10) is not None
    same(prepare(df), prepare(df, schema=Schema.infer(df)))
    same(prepare(df.to_numpy()), prepare(df.to_numpy(), schema=Schema([])))


def odd(df, **columns):
    return df.assign(**columns)


def test_whatever_is_not_plain_goes_through_the_gate():
    rng = np.random.default_rng(1)
    df, n = numbers(rng), 300
    gap, infinite = df["a"].copy(), df["a"].copy()
    gap.iloc[7], infinite.iloc[9] = np.nan, np.inf
    for table in (
        odd(df, a=gap),
        odd(df, a=infinite),
        odd(df, a=1.0),
        odd(df, a=rng.integers(2, size=n).astype(float)),
        odd(df, a=rng.integers(5, size=n)),
        odd(df, a=rng.choice(["x", "y"], size=n)),
        odd(df, a=df["a"].astype("Float64")),
        odd(df, a=1e300 * df["a"]),
        odd(df, a=1e15 + 1e-3 * df["a"]),
        odd(df, user_id=np.arange(n, dtype=float)),
        df.set_axis([*"abcd", "a"], axis=1),
        df.set_axis(range(5), axis=1),
        df.iloc[:5],
        pd.concat([df, df]),
        df.round(1),
        df["a"],
        df["a"].to_numpy(),
        df.to_numpy().astype(object),
        df.to_numpy().tolist(),
    ):
        assert plain_table(table, 10) is None
    with pytest.raises(DataError, match="'a'.*infinite.*row 9"):
        prepare(odd(df, a=infinite))
    with pytest.warns(CausalWarning, match="duplicate-rows"):
        prepare(pd.concat([df, df.iloc[:50]]).to_numpy())
    assert prepare(odd(df, a=1.0)).left_out == {"a": "constant"}
    assert "a" in prepare(odd(df, a=3 * df["b"])).left_out["b"]
    with pytest.raises(Exception, match="zz"):
        prepare(df, knowledge=Knowledge(tiers=["zz", "a"]))


def test_the_caller_s_numbers_are_untouched():
    x = np.random.default_rng(2).normal(size=(50, 3))
    before = x.copy()
    prepare(x)
    prepare(pd.DataFrame(x, columns=list("cba"), copy=False))
    np.testing.assert_array_equal(x, before)


def test_resampled_rows_are_reduced_as_a_table_of_them():
    rng = np.random.default_rng(3)
    df = numbers(rng)
    team = rng.choice(["x", "y", "z"], size=300)
    mixed = odd(df, team=team, sign=np.where(df["a"] > 0, "plus", "minus"))
    gaps = mixed.copy()
    gaps.loc[rng.choice(300, 40, replace=False), "b"] = np.nan
    for table in (df, mixed, gaps):
        schema = Schema.infer(table)
        encoded = encode(table, None, Knowledge())
        for _ in range(5):
            rows = rng.integers(300, size=300)
            part = table.iloc[rows].reset_index(drop=True)
            same(reduce(encoded.take(rows), Knowledge()), prepare(part, schema))


def test_columns_that_do_not_vary_on_the_drawn_rows_are_left_out():
    rng = np.random.default_rng(4)
    df = odd(numbers(rng), rare=np.r_[np.zeros(290), np.arange(1.0, 11.0)] + 0.1)
    df["kind"] = np.r_[["x"] * 290, ["y", "z"] * 5]
    encoded = encode(df, None, Knowledge())
    rows = rng.integers(290, size=300)
    taken = encoded.take(rows)
    assert taken.variables == list("abcde")
    assert taken.left_out == {"rare": "constant", "kind": "constant"}
    with pytest.raises(DataError, match="no column varies"):
        encoded.take(np.full(20, 3))
    with pytest.raises(DataError, match="at least 10"):
        encoded.take(np.arange(4))
