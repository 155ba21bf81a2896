import numpy as np
import pandas as pd
import pytest

from workbench import Schema
from workbench.checks import check_table
from workbench.core.errors import DataError


def codes(df, **kwargs):
    return {(f.column, f.code) for f in check_table(df, **kwargs).findings}


@pytest.fixture
def clean():
    r = np.random.default_rng(0)
    n = 400
    return pd.DataFrame(
        {
            "a": r.normal(size=n),
            "k": r.integers(0, 30, n),
            "g": r.choice(["x", "y", "z"], n),
            "sick": r.integers(0, 2, n),
        }
    )


def test_a_clean_table_has_nothing_odd(clean, untouched):
    report = check_table(untouched(clean), outcome="sick")
    assert report.ok and report.findings == ()
    assert repr(report) == "400 rows, 4 columns: nothing odd."


def test_each_oddity_is_named(clean):
    n = len(clean)
    odd = clean.assign(
        constant=7,
        copy=3 * clean["a"] + 1,
        empty=np.nan,
        gaps=clean["a"].where(clean.index % 2 == 0),
        text_numbers=clean["k"].astype(str),
        mixed=[1, "x"] * (n // 2),
        infinite=np.where(clean.index == 5, np.inf, clean["a"]),
        lists=[[1]] * n,
        spelling=np.where(clean["sick"] == 1, "Yes", np.where(clean["k"] > 9, "yes ", "no")),
        coded=np.where(clean.index % 9 == 0, -999, clean["k"]),
        user_id=np.arange(n) // 2,
    )
    assert {
        ("constant", "constant"),
        ("copy", "copy"),
        ("empty", "empty"),
        ("gaps", "missing"),
        ("text_numbers", "type"),
        ("mixed", "type"),
        ("infinite", "type"),
        ("lists", "type"),
        ("spelling", "spelling"),
        ("coded", "sentinel"),
        ("user_id", "repeated-id"),
    } <= codes(odd)
    report = check_table(odd)
    assert not report.ok
    message = report.to_frame().set_index("column").loc["infinite", "message"]
    assert message == "has 1 infinite value (first at row 5: inf)."


def test_fill_in_constants_that_give_the_outcome_away_are_found(clean):
    gap = clean.index % 5 == 0
    filled = clean.assign(a=np.where(gap, np.where(clean["sick"] == 1, 0.123, 0.456), clean["a"]))
    assert ("a", "leak") in codes(filled, outcome="sick")
    assert ("a", "leak") in codes(filled)
    fair = clean.assign(a=np.where(gap, 0.3, clean["a"]))
    assert ("a", "leak") not in codes(fair, outcome="sick")


def test_a_gap_that_gives_the_outcome_away_is_found(clean):
    emptied = clean.assign(a=clean["a"].where((clean["sick"] == 0) | (clean.index % 3 > 0)))
    report = check_table(emptied, outcome="sick")
    assert any(f.code == "leak" and "empty cell" in f.message for f in report.findings)


def test_numbers_that_others_determine_are_noted(clean):
    r = np.random.default_rng(5)
    odd = clean.assign(b=r.normal(size=len(clean)), huge=clean["a"] * 1e300)
    odd["sum"] = odd["a"] + odd["b"] + 0.01 * r.normal(size=len(clean))
    assert ("sum", "determined") in codes(odd.drop(columns="huge"))
    check_table(odd)


def test_leaks_are_rarely_imagined():
    found = 0
    for seed in range(50):
        r = np.random.default_rng(seed)
        df = pd.DataFrame(r.integers(0, 8, (300, 20)), columns=[f"c{i}" for i in range(20)])
        found += any(c == "leak" for _, c in codes(df.assign(y=r.integers(0, 2, 300)), outcome="y"))
    assert found == 0


def test_a_text_that_differs_in_every_row_may_be_an_id(clean):
    df = clean.assign(who=[f"p{i}" for i in range(len(clean))])
    (found,) = check_table(df).findings
    assert (found.column, found.code) == ("who", "many-levels") and "'id'" in found.advice
    named = Schema.infer(df).correct({"who": {"role": "id"}})
    assert check_table(df, schema=named).findings == ()


def test_a_cluster_settles_repeated_ids(clean):
    df = clean.assign(user_id=np.arange(len(clean)) // 2)
    schema = Schema.infer(df).correct(user_id={"role": "cluster"})
    assert ("user_id", "repeated-id") not in codes(df, schema=schema)


def test_no_table_is_refused(clean):
    for bad in (clean.iloc[:0], clean.iloc[:, :0], clean[["a", "a"]], [1, 2]):
        with pytest.raises(DataError):
            check_table(bad)
    with pytest.raises(DataError, match="'sik'.*Did you mean 'sick'"):
        check_table(clean, outcome="sik")


def test_the_public_credit_table_gives_its_label_away(real_data):
    leaky = pd.read_csv(real_data / "heloc" / "train.csv.gz")
    report = check_table(leaky, outcome="RiskPerformance")
    assert "43% of the rows" in report.to_frame().query("column.isna()")["message"].iloc[0]
    repaired = pd.read_csv(real_data / "heloc" / "train_clean.csv.gz")
    assert not any(c == "leak" for _, c in codes(repaired, outcome="RiskPerformance"))


def test_a_number_that_gives_a_number_away_is_found():
    rng = np.random.default_rng(0)
    visits = rng.poisson(1, 400)
    bill = np.where(visits > 0, visits * rng.uniform(20, 60, 400), 0)
    df = pd.DataFrame({"visits": visits + 10 * (visits > 3), "bill": bill})
    df["visits"] = df["visits"] * np.where(df["visits"] > 0, rng.uniform(1, 2, 400), 0)
    assert ("bill", "leak") in codes(df, outcome="visits")
    assert ("bill", "leak") not in codes(df.assign(bill=bill[::-1]), outcome="visits")
