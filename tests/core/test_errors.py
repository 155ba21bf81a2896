import pickle
import warnings

import pytest

from workbench.core.errors import (
    CausalWarning,
    DataError,
    FileFormatError,
    GraphError,
    did_you_mean,
    recording,
    warn,
)


def test_a_refusal_names_place_row_value_and_advice():
    error = DataError("is negative", column="age", row=3, value=-1, advice="Correct it.")
    assert str(error) == "column 'age': is negative (first at row 3: -1). Correct it."
    assert isinstance(error, ValueError)
    assert str(GraphError("is unknown", column="x")).startswith("node 'x'")


def test_file_errors_name_line_and_column():
    assert (
        str(FileFormatError("bad", path="g.dot", line=2, char=5)) == "g.dot, line 2, column 5: bad"
    )


def test_long_values_are_shortened():
    assert len(str(DataError("is long", value="x" * 10_000))) < 100


@pytest.mark.parametrize(
    "error",
    [DataError("is off", column="a", row=1), FileFormatError("bad", line=3)],
)
def test_errors_survive_a_trip_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_close_names_are_suggested():
    assert "'income'" in did_you_mean("incme", ["income", "age"])
    assert did_you_mean("zzz", ["income", "age"]) == "Known: 'income', 'age'."
    assert did_you_mean("zzz", []) == ""


def test_warnings_attach_to_every_answer_being_computed_and_show_once():
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        with recording() as outer:
            warn("outer", "one")
            with recording() as inner:
                warn("inner", "two", ["x"])
                warn("inner", "two", ["x"])
    assert [w.code for w in outer] == ["outer", "inner"]
    assert [w.code for w in inner] == ["inner"]
    assert [str(w.message) for w in shown] == ["[outer] one", "[inner] two"]
    assert shown[0].filename == __file__


def test_warnings_survive_an_error_inside():
    with pytest.warns(CausalWarning, match="kept"), pytest.raises(DataError), recording():
        warn("code", "kept")
        raise DataError("stop")


def test_a_warning_outside_any_answer_is_shown_at_the_callers_line():
    with pytest.warns(CausalWarning) as caught:
        warn("alone", "seen")
    assert caught[0].filename == __file__
    assert pickle.loads(pickle.dumps(caught[0].message)) == caught[0].message
