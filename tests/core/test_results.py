import pandas as pd

from workbench.core.errors import CausalWarning
from workbench.core.results import Result, interval, number


class Answer(Result):
    def __init__(self, rows=3, warnings=()):
        self.rows, self.warnings = rows, tuple(warnings)

    def summary(self):
        return "The effect is 2.0 <b>mmHg</b>"

    def to_frame(self, long=False):
        return pd.DataFrame({"<i>": range(self.rows)})

    def verdict(self):
        return "doubtful"

    def how(self):
        return {"seed": 0, "<script>": "<script>"}


def test_repr_is_at_most_ten_lines():
    for rows in (0, 1, 5, 6, 7, 100):
        for n in range(5):
            notes = [CausalWarning(f"c{i}", "a " * 300) for i in range(n)]
            text = repr(Answer(rows, notes))
            assert text.count("\n") < 10
            assert "doubtful" in text
            assert not n or text.splitlines()[-1].startswith("!")


def test_html_is_escaped():
    html = Answer(3, [CausalWarning("x", "<script>alert(1)</script>")])._repr_html_()
    assert "<script>" not in html and "<i>" not in html and "<b>mmHg" not in html


def test_numbers_are_written_for_people():
    written = ["0", "-3", "0.5", "12.3", "123,457"]
    assert [number(v) for v in (0, -3, 0.5, 12.345, 123456.7)] == written
    assert number(float("nan")) == "not defined"
    assert number(float("-inf")) == "-∞"
    assert number(99.96) == "100"
    assert interval(-0.5, 2) == "-0.5 to 2"


def test_a_glance_is_what_is_shown():
    class Wide(Answer):
        def glance(self):
            return pd.DataFrame({"short": [1]})

    assert "short" in repr(Wide(100)) and "short" in Wide(100)._repr_html_()
