import numpy as np
import pandas as pd
import pytest

from workbench import Feature, Schema, load, save
from workbench.core.errors import DataError


def infer(**columns):
    return Schema.infer(pd.DataFrame(columns))


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, 2.0, 3.25], "continuous"),
        ([-1, 0, 4], "continuous"),
        ([3, 0, 4], "count"),
        ([0, 1, 1], "binary"),
        ([1, 2, 2], "binary"),
        ([True, False, True], "binary"),
        (["f", "m", "f"], "binary"),
        (["a", "b", "c"], "categorical"),
        (pd.Categorical(["lo", "hi", "mid"], ["lo", "mid", "hi"], ordered=True), "ordinal"),
        (pd.Categorical(["x", "y", "z"]), "categorical"),
        (pd.array([1, None, 7], dtype="Int64"), "count"),
        ([None, True, False], "binary"),
    ],
)
def test_kinds_are_guessed(values, kind):
    assert infer(c=values)["c"].kind == kind


def test_roles_are_guessed():
    schema = infer(
        user_id=range(100, 110),
        when=pd.date_range("2024-01-01", periods=10),
        later=pd.date_range("2025-01-01", periods=10),
        paid=np.arange(10.0),
    )
    assert [f.role for f in schema] == ["id", "time", "id", None]
    assert schema.variables == ("paid",)
    assert schema.role("time") == "when" and schema.role("cluster") is None


def test_guesses_come_with_reasons():
    assert infer(c=[3, 0, 4]).to_frame().loc["c", "reason"] == "whole numbers from 0"


def test_corrections_make_a_new_schema():
    schema = infer(dose=[0, 1, 1], team=["a", "b", "c"])
    new = schema.correct({"dose": {"kind": "continuous", "bounds": (0, 5)}}, team={"unit": "x"})
    assert new["dose"].levels is None and new["dose"].bounds == (0.0, 5.0)
    assert schema["dose"].kind == "binary"
    assert new.to_frame().loc["dose", "reason"] == "set by the user"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "contnuous"}, "kind must be one of.*Did you mean 'continuous'"),
        ({"role": "cluser"}, "role.*Did you mean 'cluster'"),
        ({"actionable": "up"}, "actionable must be one of"),
        ({"bounds": (3, 1)}, "wrong order"),
        ({"bounds": 3}, "pair"),
        ({"kind": "binary", "bounds": (0, 1)}, "Use levels"),
        ({"kind": "binary", "levels": (1, 2, 3)}, "more than two levels"),
        ({"kind": "categorical", "levels": (1, 1)}, "level twice"),
        ({"levels": (1, 2)}, "levels are not for"),
        ({"cost": 0}, "positive"),
        ({"cost": float("inf")}, "positive"),
        ({"missing": "ignore"}, "missing must be one of"),
    ],
)
def test_features_that_contradict_themselves_are_refused(fields, message):
    with pytest.raises(DataError, match=f"column 'x'.*{message}"):
        Feature("x", **fields)


def test_unknown_columns_and_fields_are_named():
    schema = infer(income=[1.0, 2.5])
    with pytest.raises(DataError, match="'incme'.*Did you mean 'income'"):
        schema["incme"]
    with pytest.raises(DataError, match="no field 'unt'.*Did you mean 'unit'"):
        schema.correct(income={"unt": "EUR"})
    with pytest.raises(DataError, match="'b'.*role 'weight' is taken by 'a'"):
        Schema([Feature("a", role="weight"), Feature("b", role="weight")])
    with pytest.raises(DataError, match="'a'.*twice"):
        Schema([Feature("a"), Feature("a")])


def test_json_and_saving_round_trip(people, tmp_path):
    schema = Schema.infer(people).correct(age={"bounds": (0, None), "unit": "years", "cost": 2.5})
    assert Schema.from_json(schema.to_json()) == schema
    save(schema, tmp_path / "s")
    assert load(tmp_path / "s") == schema
    for text in ("", "[]", '{"features": [{"nme": "x"}]}', '{"features": 3}'):
        with pytest.raises(DataError):
            Schema.from_json(text)


def test_html_is_escaped():
    assert "<script>" not in infer(**{"<script>": [1.0, 2.5]})._repr_html_()
