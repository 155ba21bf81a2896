import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import CausalWarning, Schema, load, save
from workbench.core.errors import DataError, ParameterError
from workbench.tables.encode import Encoder
from workbench.tables.gate import table


def test_columns_and_scales(people):
    encoder = Encoder().fit(people[["age", "sex", "region"]])
    assert encoder.columns_ == ("age", "sex=m", "region=north", "region=south", "region=west")
    z = encoder.transform(people)
    np.testing.assert_allclose(z[:, 0].mean(), 0, atol=1e-12)
    np.testing.assert_allclose(z[:, 0].std(), 1)
    np.testing.assert_array_equal(z[:, 2:].sum(axis=1), 1)
    assert Encoder(drop_first=True).fit(people[["region"]]).columns_ == (
        "region=south",
        "region=west",
    )
    low = Encoder(scale="minmax").fit_transform(people[["age"]])
    assert low.min() == 0 and low.max() == 1
    np.testing.assert_array_equal(
        Encoder(scale=None).fit_transform(people[["age"]])[:, 0], people["age"]
    )
    with pytest.raises(ParameterError, match="scale"):
        Encoder(scale="sd").fit(people)


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.sampled_from(["standard", "minmax", None]),
    st.booleans(),
    st.booleans(),
)
def test_decoding_undoes_encoding(seed, scale, drop_first, gaps):
    r = np.random.default_rng(seed)
    n = int(r.integers(3, 30))
    df = pd.DataFrame(
        {
            "c": r.normal(r.normal() * 1e6, 10 ** r.uniform(-3, 6), n),
            "k": r.integers(0, 50, n).astype(float),
            "b": r.choice(["yes", "no"], n),
            "g": pd.Categorical(r.choice(list("abcd"), n), list("abcd")),
            "o": pd.Categorical(r.choice(["s", "m", "l"], n), ["s", "m", "l"], ordered=True),
        }
    )
    if gaps:
        for name in df:
            df.loc[r.integers(0, n), name] = None if df[name].dtype != float else np.nan
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schema = Schema.infer(df).correct(k={"kind": "count"})
        encoder = Encoder(scale, drop_first).fit(df, schema)
        z = encoder.transform(df)
    assert z.shape == (n, len(encoder.columns_)) and np.isfinite(z).all()
    back = encoder.inverse(z, df.index)
    for name in ("c", "k"):
        np.testing.assert_allclose(back[name], df[name], rtol=1e-9)
    for name in ("b", "g", "o"):
        assert back[name].astype(object).where(back[name].notna(), None).tolist() == (
            df[name].astype(object).where(df[name].notna(), None).tolist()
        )


def test_columns_are_matched_by_name(people, untouched):
    encoder = Encoder().fit(untouched(people))
    z = encoder.transform(people)
    np.testing.assert_array_equal(encoder.transform(people[people.columns[::-1]]), z)
    np.testing.assert_array_equal(encoder.transform(people.assign(extra=1)), z)
    np.testing.assert_array_equal(encoder.transform(people.iloc[[5]]), z[[5]])
    with pytest.raises(DataError, match="'age'"):
        encoder.transform(people.drop(columns="age"))
    with pytest.raises(DataError, match="no column names"):
        encoder.transform(people.to_numpy())


def test_new_levels_and_new_gaps_are_refused(people):
    encoder = Encoder().fit(people)
    with pytest.raises(DataError, match="'region'.*not known.*row 2: 'east'"):
        encoder.transform(people.assign(region=["north", "south", "east"] * 20))
    with pytest.raises(DataError, match="'age'.*empty cell.*row 3"):
        encoder.transform(people.assign(age=people["age"].where(people.index != 3)))


def test_gaps_are_filled_marked_and_said(people):
    gappy = people.assign(age=people["age"].where(people.index > 4))
    with pytest.warns(CausalWarning, match="'age' were filled"):
        encoder = Encoder().fit(gappy[["age", "sex"]])
    assert encoder.columns_ == ("age", "age=(missing)", "sex=m")
    assert encoder.transform(gappy)[:6, 1].tolist() == [1, 1, 1, 1, 1, 0]
    with pytest.raises(DataError, match="'age': has no values"):
        Encoder().fit(people[["age"]] * np.nan)


def test_rare_levels_can_share_a_column():
    df = pd.DataFrame({"g": ["a"] * 5 + ["b"] * 4 + ["c", "d"]})
    with pytest.warns(CausalWarning, match="2 rare levels of 'g'"):
        encoder = Encoder(max_levels=2).fit(df)
    assert encoder.columns_ == ("g=a", "g=b", "g=(other)")
    np.testing.assert_array_equal(encoder.transform(df).sum(axis=1), 1)


def test_units_have_no_influence(people):
    z = Encoder().fit_transform(people[["age"]])
    np.testing.assert_allclose(Encoder().fit_transform(people[["age"]] * 1e9 + 1e12), z, rtol=1e-4)
    constant = Encoder().fit_transform(pd.DataFrame({"c": [1e15] * 5}))
    np.testing.assert_array_equal(constant, 0)


def test_saving_keeps_everything(people, tmp_path):
    encoder = Encoder().fit(people)
    save(encoder, tmp_path / "e")
    np.testing.assert_array_equal(load(tmp_path / "e").transform(people), encoder.transform(people))


def test_tensors(people):
    torch = pytest.importorskip("torch")
    encoder = Encoder().fit(people)
    assert encoder.tensor(people).dtype == torch.float32
    assert (
        encoder.tensor(people, torch.float64).numpy().tolist() == encoder.transform(people).tolist()
    )


def test_two_hundred_thousand_rows_take_seconds():
    import time

    r = np.random.default_rng(0)
    df = pd.DataFrame(r.normal(size=(200_000, 8))).rename(columns=str)
    df["g"] = r.choice([f"level {i}" for i in range(400)], 200_000)
    start = time.process_time()
    Encoder(max_levels=20).fit_transform(df)
    assert time.process_time() - start < 5


def test_arrays_are_encoded_as_tables_are(people):
    encoder = Encoder().fit(people)
    encoded = encoder.transform(people)
    clean = table(people, schema=encoder.schema_).frame
    for block in encoder.blocks_:
        column = clean[block.feature.name]
        values = column if block.feature.is_numeric else column.cat.codes
        part = encoder.encode_values(block.feature.name, values.to_numpy())
        np.testing.assert_array_equal(part, encoded[:, block.columns])
