"""The RAND Health Insurance Experiment: a known answer, people who come back, care as a trap."""

import numpy as np
import pytest

import workbench as wb
from workbench.datasets import load
from workbench.datasets.health_insurance import families
from workbench.effects import estimate

SPENDING = ["outpatient_spending", "drug_spending"]


@pytest.fixture(scope="module")
def insurance():
    """Free care (plan 11) against 95 % coinsurance (plans 14 to 16); site 1 had no such plans."""
    data = load("health_insurance")
    rows = data.frame[data.frame["plan"].isin([11, 14, 15, 16]) & (data.frame["site"] > 1)]
    pays = np.where(rows["plan"] == 11, "free", "95 %")
    frame = rows.drop(columns="plan").assign(coinsurance=pays, family=families(rows))
    known = data.schema.select([n for n in data.schema.names if n != "plan"])
    plan = wb.Feature("coinsurance", "categorical", levels=("free", "95 %"))
    return frame, wb.Schema([*known, plan, wb.Feature("family", "count")])


def visits(frame, schema, adjust_for=("site", "year"), **options):
    question = {"treatment": "coinsurance", "outcome": "visits", "estimator": "AIPW"}
    return estimate(frame, list(adjust_for), schema=schema, **question, **options)


def test_paying_means_fewer_visits_and_people_are_clusters(insurance):
    frame, schema = insurance
    by_person = visits(frame, schema)
    assert by_person.value == pytest.approx(-1.2, abs=0.1) and by_person.high < 0
    assert by_person.n == 8210 and by_person.clusters == 2484
    by_row = visits(frame.drop(columns="person"), schema.select(
        [n for n in schema.names if n != "person"]
    ))  # fmt: skip
    assert by_row.clusters is None
    assert by_person.high - by_person.low > 1.4 * (by_row.high - by_row.low)


def test_people_who_come_back_are_noticed(insurance):
    frame, schema = insurance
    told = visits(frame, schema.correct({"person": {"role": "id"}}))
    assert "repeated-ids" in [w.code for w in told.warnings] and told.clusters == 2484


def test_spending_gives_visits_away(insurance):
    frame, schema = insurance
    told = visits(frame[frame["site"] < 4], schema, ["site", *SPENDING])
    after = [w for w in told.warnings if w.code == "post-treatment"]
    assert [w.columns for w in after] == [("outpatient_spending",)]  # drugs need no visit
    assert told.verdict().startswith("Doubtful") and abs(told.value) < 0.6


def test_a_graph_knows_all_that_follows_from_the_plan(insurance):
    frame, schema = insurance
    edges = [("coinsurance", "visits"), *(("visits", name) for name in SPENDING)]
    graph = wb.CausalGraph(["coinsurance", "visits", *SPENDING], edges)
    held = wb.Study(frame[frame["site"] < 3], graph, schema).effect(
        "coinsurance", "visits", adjust_for=SPENDING, refute=False
    )
    assert {c for w in held.warnings if w.code == "post-treatment" for c in w.columns} == set(
        SPENDING
    )


def test_families_are_runs_of_codes_and_were_drawn_whole(insurance):
    frame, schema = insurance
    some = frame[frame["site"] < 4]
    assert visits(some, schema, groups="family").se > visits(some, schema).se
    people = frame.drop_duplicates("person")
    found = people.groupby("family")
    assert (found["site"].nunique() == 1).all() and (found["income"].nunique() == 1).all()
    assert 1.8 < len(people) / found.ngroups < 2.6
