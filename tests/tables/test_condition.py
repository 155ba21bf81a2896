import pandas as pd
import pytest

from workbench.core.errors import QuestionError
from workbench.tables.condition import parse, rows

DF = pd.DataFrame(
    {
        "age": [50, 60, 70],
        "body mass <kg>": [1.5, None, 3.5],
        "sex": ["f", "m", "f"],
        "team": pd.Categorical(["a", "b c", "a"]),
    }
)


@pytest.mark.parametrize(
    ("text", "mask"),
    [
        ("age >= 60", [0, 1, 1]),
        ("age<60", [1, 0, 0]),
        ("age != 60", [1, 0, 1]),
        ("body mass <kg> > 1", [1, 0, 1]),
        ("body mass <kg> <= 1.5e0", [1, 0, 0]),
        ("sex == 'f'", [1, 0, 1]),
        ('sex = "m"', [0, 1, 0]),
        ("team == b c", [0, 1, 0]),
        ("age > 55 and sex == f", [0, 0, 1]),
    ],
)
def test_conditions(text, mask):
    assert rows(DF, text).astype(int).tolist() == mask


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("agee > 3", "'agee'.*Did you mean 'age'"),
        ("age", "not a condition"),
        ("", "not a condition"),
        ("age > __import__('os')", "not a condition"),
        ("age > old", "'age'.*can't be compared with 'old'"),
        ("sex > f", "'sex'.*does not order"),
        ("sex == x", "'sex'.*no such level.*'x'"),
    ],
)
def test_what_is_no_condition_is_refused(text, message):
    with pytest.raises(QuestionError, match=message):
        rows(DF, text)


def test_conditions_read_as_they_were_written():
    assert str(parse("age >= 60", DF)[0]) == "age >= 60"
