"""Many people at once: seconds and memory of what is asked most."""

import pytest


@pytest.mark.slow
def test_a_million_people_and_ten_samples_for_a_thousand(measured):
    rows = measured("recourse_scale")
    each = {r["method"]: r["seconds"] for r in rows if r["seconds"] is not None}
    total = {r["method"]: r["value"] for r in rows if r["metric"] != "peak GiB"}
    assert next(r["value"] for r in rows if r["metric"] == "peak GiB") < 4e9 / 2**30
    assert each["ROAR"] < 1 / 50_000
    assert each["ExactRecourse"] < 0.020
    assert each["TrimmedTarget"] < 0.025
    assert total["GenRe"] < 1.5
