import re
import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import (
    CausalGraph,
    CausalWarning,
    GraphEnsemble,
    Knowledge,
    Schema,
    StructuralCausalModel,
    Study,
)
from workbench.core.errors import DataError, GraphError, IdentificationError, QuestionError
from workbench.datasets import load
from workbench.effects import DoseGP

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")


@pytest.fixture(scope="module")
def clinic():
    return load("clinic")


@pytest.fixture
def study(clinic):
    return Study(clinic.frame, clinic.graph, clinic.schema)


@pytest.fixture(scope="module")
def chain():
    """Linear: dose -> marker -> harm, with a hidden-free graph and known coefficients."""
    graph = CausalGraph(["dose", "marker", "harm"], [("dose", "marker"), ("marker", "harm")])
    model = StructuralCausalModel.linear_gaussian(
        graph, {("dose", "marker"): 2.0, ("marker", "harm"): 1.5}
    )
    return graph, model.sample(800)


# -- construction -----------------------------------------------------------------------------


def test_the_table_is_never_changed(clinic, untouched):
    study = Study(untouched(clinic.frame), clinic.graph, clinic.schema)
    study.check()
    study.effect("drug", "blood_pressure", refute=False)
    study.recourse([0, 1], target="blood_pressure < 120")
    study.diagnose([3], "blood_pressure")
    study.df.iloc[0, 0] = None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda d: Study([1, 2]), DataError, "needs a DataFrame"),
        (lambda d: Study(d.frame.iloc[:0]), DataError, "0 rows"),
        (lambda d: Study(d.frame[["age", "age"]]), DataError, "'age': appears 2 times"),
        (lambda d: Study(d.frame, "digraph {agee -> drug}"), GraphError, "'agee'.*mean 'age'"),
        (lambda d: Study(d.frame.drop(columns="age"), schema=d.schema), DataError, "'age'"),
        (lambda d: Study(d.frame, random_state=-1), ValueError, "random_state"),
        (lambda d: Study(d.frame).graph, GraphError, "no graph yet"),
    ],
)
def test_what_is_no_study_is_refused(make, error, message, clinic):
    with pytest.raises(error, match=message):
        make(clinic)


def test_graphs_come_from_anywhere(clinic, tmp_path):
    file = tmp_path / "g.dot"
    file.write_text("digraph { age -> drug -> blood_pressure; age -> blood_pressure }")
    from_file = Study(clinic.frame, file).graph
    from_text = Study(clinic.frame, file.read_text()).graph
    from_networkx = Study(clinic.frame, from_file.to_networkx()).graph
    assert from_file == from_text == from_networkx


# -- effects ----------------------------------------------------------------------------------


def test_an_effect_comes_with_its_conditions(study, clinic):
    answer = study.effect("drug", "blood_pressure", refute=False)
    truth = clinic.truth["ATE of drug on blood_pressure"]
    assert answer.low < truth < answer.high
    assert set(answer.adjustment) == {"age", "severity", "smoker"}
    assert answer.clusters == 12 and answer.overlap is not None
    assert "mmHg" in answer.summary() and "95 %" in answer.summary()
    assert 0 < answer.hidden_confounding.to_doubt < answer.hidden_confounding.to_zero < 1


def test_columns_can_be_adjusted_for_on_the_users_word(clinic):
    study = Study(clinic.frame, schema=clinic.schema)
    naive = study.effect("drug", "blood_pressure", adjust_for=[], refute=False)
    adjusted = study.effect(
        "drug", "blood_pressure", adjust_for=["age", "severity", "smoker"], refute=False
    )
    assert naive.value > adjusted.value + 1  # sicker patients get the drug


def test_consequences_of_the_treatment_are_not_held_fixed(study):
    with pytest.raises(QuestionError, match="'hospital_days': is a consequence of 'drug'"):
        study.effect("drug", "blood_pressure", modifiers="hospital_days")
    held = study.effect("drug", "blood_pressure", adjust_for=["age", "hospital_days"], refute=False)
    assert "post-treatment" in [w.code for w in held.warnings]
    assert held.verdict().startswith("Doubtful")


def test_an_open_path_is_named(clinic):
    graph = CausalGraph(
        ["drug", "blood_pressure"],
        [("drug", "blood_pressure"), ("drug", "blood_pressure", "arrow", "arrow")],
    )
    with pytest.raises(IdentificationError, match="not identified.*adjust_for"):
        Study(clinic.frame, graph).effect("drug", "blood_pressure")


def test_unknown_names_get_a_suggestion(study):
    with pytest.raises(ValueError, match="'drugs'.*Did you mean 'drug'"):
        study.effect("drugs", "blood_pressure")
    with pytest.raises(ValueError, match="Did you mean 'blood_pressure'"):
        study.recourse([0], target="blood_presure < 3")
    with pytest.raises(ValueError, match="over"):
        study.effect("drug", "blood_pressure", over="graph")


def test_a_class_of_graphs_answers_for_every_member(chain):
    graph, df = chain
    answer = Study(df, graph.cpdag()).effect("dose", "harm", refute=False)
    table = answer.to_frame()
    assert answer.graphs == 3 and table["share"].sum() == pytest.approx(1)
    assert set(table["finding"]) == {"positive", "no effect"}
    assert answer.agreement == ("no effect", pytest.approx(2 / 3))
    assert "67%" in answer.verdict() or "decides" in answer.verdict()
    by_way = table["effect"].to_dict()
    assert by_way["no directed path"] == 0
    assert by_way["adjusting for nothing"] == pytest.approx(3.0, abs=0.25)


def test_an_amenable_class_gives_one_answer(chain):
    _, df = chain
    graph = CausalGraph(
        ["dose", "marker", "harm"],
        [("dose", "harm"), ("marker", "harm")],
        kind="cpdag",
    )
    answer = Study(df, graph).effect("marker", "harm", refute=False)
    assert answer.value == pytest.approx(1.5, abs=0.15)


def test_the_same_seed_gives_the_same_answers(clinic):
    values = []
    for _ in range(2):
        study = Study(clinic.frame, clinic.graph, clinic.schema, random_state=3)
        values.append(study.effect("drug", "blood_pressure", refute=False).value)
    again = Study(clinic.frame.iloc[:, ::-1], clinic.graph, clinic.schema, random_state=3)
    values.append(again.effect("drug", "blood_pressure", refute=False).value)
    assert values[0] == values[1] == pytest.approx(values[2])


# -- plans ------------------------------------------------------------------------------------


def test_plans_in_the_world_follow_the_graph(chain):
    graph, df = chain
    schema = Schema.infer(df).correct(marker={"actionable": False})
    study = Study(df, graph, schema)
    plan = study.recourse("harm > 5", target="harm < 5")
    frame = plan.to_frame()
    assert (frame["status"] == "found").all()
    today = df.loc[frame.index]
    # The total effect of dose on harm is 3: the cheapest action is its fitted inverse.
    expected = today["dose"] - (today["harm"] - 5) / 3
    np.testing.assert_allclose(frame["dose"], expected, rtol=0.1, atol=0.1)
    assert (frame["marker"] < today["marker"]).all()


def test_plans_for_a_model_leave_the_world_alone(clinic):
    from sklearn.linear_model import LogisticRegression

    columns = ["age", "severity"]
    model = LogisticRegression().fit(clinic.frame[columns], clinic.frame["drug"] == "new")
    schema = clinic.schema.correct(severity={"actionable": True})
    study = Study(clinic.frame, clinic.graph, schema)
    plan = study.recourse([0, 1, 2, 3], model=model, target=None)
    found = plan.to_frame()[lambda f: f["status"] == "found"]
    assert len(found) and (found["age"] == clinic.frame.loc[found.index, "age"]).all()
    assert (model.predict_proba(found[columns])[:, 1] >= 0.5).all()


def test_plans_under_several_graphs_say_how_many_agree(chain):
    graph, df = chain
    schema = Schema.infer(df).correct(marker={"actionable": False})
    both = CausalGraph(graph.nodes, [("dose", "marker", "tail", "tail"), ("marker", "harm")])
    with pytest.warns(CausalWarning, match="graph-uncertainty"):
        plan = Study(df, both, schema).recourse("harm > 6", target="harm < 6")
    found = plan.to_frame()[lambda f: f["status"] == "found"]
    assert found["validity"].between(0.49, 0.51).all()  # dose acts under one of two DAGs


def test_people_are_chosen_by_table_label_mask_or_condition(chain):
    graph, df = chain
    study = Study(df, graph)
    target = "harm < 100"
    mask = (df["harm"] > 5).tolist()
    counts = {
        len(study.recourse(rows, target=target))
        for rows in ("harm > 5", mask, df.index[mask], df[mask])
    }
    assert counts == {sum(mask)}
    for rows, message in (("harm > 1e9", "no row fulfils"), ([10**6], "not the label")):
        with pytest.raises(QuestionError, match=message):
            study.recourse(rows, target=target)
    for bad in (5, "harm == 5", "harm < 5 and dose < 1", "harm < high"):
        with pytest.raises(QuestionError):
            study.recourse([0], target=bad)


# -- diagnosis --------------------------------------------------------------------------------


def test_a_pushed_cause_is_blamed(chain):
    graph, df = chain
    odd = df.iloc[[0]].assign(dose=9.0)
    odd = StructuralCausalModel.linear_gaussian(
        graph, {("dose", "marker"): 2.0, ("marker", "harm"): 1.5}
    ).counterfactual(df.iloc[[0]], {"dose": 9.0})
    ranking = Study(df, graph).diagnose(odd, "harm")
    assert ranking.status == "found" and ranking.nodes[0] == "dose"


def test_diagnosis_over_a_class_averages_the_members(chain):
    graph, df = chain
    odd = df.iloc[[0]].assign(dose=9.0, marker=18.0, harm=27.0)
    ranking = Study(df, graph.cpdag()).diagnose(odd, "harm")
    assert "3 graphs" in ranking.how()["graphs"]
    assert ranking.status in ("found", "abstain")


def test_a_usual_record_has_no_cause(chain):
    graph, df = chain
    label = int((df["harm"] - df["harm"].mean()).abs().idxmin())
    assert Study(df, graph).diagnose(label, "harm").status == "no root cause found"


# -- discovery and report ---------------------------------------------------------------------


def test_discovery_honours_knowledge_and_says_how_stable_it_is(chain):
    graph, df = chain
    study = Study(df)
    learned = study.discover(knowledge=Knowledge(tiers=["dose", "marker", "harm"]), n_boot=20)
    assert learned == graph or learned.skeleton() == graph.skeleton()
    assert study.ensemble.edge_confidence("dose", "marker") == 1.0
    over = study.effect("dose", "harm", over="graphs", refute=False)
    assert over.to_frame()["share"].sum() == pytest.approx(1)


def test_the_report_is_whole_and_needs_no_network(study, tmp_path):
    study.effect("drug", "blood_pressure", refute=False)
    study.recourse([0, 1], target="blood_pressure < 120")
    study.diagnose([5], "blood_pressure")
    path = study.report(tmp_path / "r.html", "A <b>title</b>")
    html = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 2_000_000
    assert not re.search(r"https?:|<script|//\w", html)
    assert "A &lt;b&gt;title" in html
    for text in ("The data", "The graph", "Effects", "What to do", "hash of the table", "seed"):
        assert text in html
    with pytest.raises(FileExistsError):
        study.report(path)
    assert [a.kind for a in study.answers] == ["effect", "recourse", "diagnose"]


def test_the_report_shows_the_curve_of_a_dose(tmp_path):
    rng = np.random.default_rng(0)
    age = rng.normal(size=120)
    dose = age + rng.normal(size=120)
    df = pd.DataFrame({"age": age, "dose": dose, "pain": age - dose**2 + rng.normal(size=120)})
    graph = CausalGraph(list(df), [("age", "dose"), ("age", "pain"), ("dose", "pain")])
    study = Study(df, graph)
    study.effect("dose", "pain", estimator=DoseGP(["main"], steps=5), refute=False)
    html = study.report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "dose → pain: the curve" in html


def test_a_study_without_questions_reports_its_table(chain, tmp_path):
    html = Study(chain[1]).report(tmp_path / "r.html").read_text(encoding="utf-8")
    assert "800 rows" in html


def test_warnings_stay_with_the_answer(clinic):
    frame = clinic.frame.assign(age=clinic.frame["age"].where(clinic.frame.index > 20))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answer = Study(frame, clinic.graph, clinic.schema).effect(
            "drug", "blood_pressure", refute=False
        )
    assert "missing-values" in [w.code for w in answer.warnings]
    assert "!" in repr(answer)
    assert isinstance(answer.to_frame(), pd.DataFrame)


def test_answers_can_be_saved_and_hold_plain_values(study, tmp_path):
    from workbench import load as load_answer
    from workbench import save

    answer = study.effect("drug", "blood_pressure", refute=False)
    save(answer, tmp_path / "a")
    assert load_answer(tmp_path / "a").summary() == answer.summary()
    study.diagnose(study.df["blood_pressure"].idxmax(), "blood_pressure")
    study.effect("age", "blood_pressure", T0=study.df["age"].median(), T1=60, refute=False)
    study.report(tmp_path / "r.html")
    assert "int64" not in (tmp_path / "r.html").read_text()


def test_the_level_that_is_meant_is_named(clinic):
    frame = clinic.frame.assign(relapse=np.where(clinic.frame["hospital_days"] > 3, "Ja", "Nein"))
    graph = CausalGraph(
        ["drug", "severity", "relapse"], [("severity", "drug"), ("drug", "relapse")]
    )
    graph = CausalGraph(graph.nodes, [*graph.edges, ("severity", "relapse")])
    guessed = Study(frame, graph).effect("drug", "relapse", refute=False)
    assert "probability of 'relapse' = 'Nein'" in guessed.summary()
    assert "level-order" in [w.code for w in guessed.warnings]
    schema = Schema.infer(frame).correct(relapse={"levels": ("Nein", "Ja")})
    chosen = Study(frame, graph, schema).effect("drug", "relapse", refute=False)
    assert "= 'Ja'" in chosen.summary() and chosen.value == pytest.approx(-guessed.value, rel=0.1)
    assert "level-order" not in [w.code for w in chosen.warnings]


def test_codes_of_arms_are_questioned():
    r = np.random.default_rng(0)
    arm = r.integers(1, 4, 300)
    df = pd.DataFrame({"arm": arm, "y": np.where(arm == 2, 5.0, 0.0) + r.normal(size=300)})
    study = Study(df)
    doubtful = study.effect("arm", "y", adjust_for=[], T0=1, T1=2, refute=False)
    assert "dose-or-arms" in [w.code for w in doubtful.warnings]
    assert doubtful.verdict().startswith("Doubtful")
    study.schema = study.schema.correct(arm={"kind": "categorical", "levels": (1, 2, 3)})
    found = study.effect("arm", "y", adjust_for=[], refute=False)
    assert found.value == pytest.approx(5, abs=0.5)
    assert "other-arms" in [w.code for w in found.warnings]
    with pytest.raises(QuestionError, match="compared with itself"):
        study.effect("arm", "y", adjust_for=[], T0=1, T1=1, refute=False)


def test_methods_may_be_named(chain):
    graph, df = chain
    study = Study(df, graph)
    assert study.diagnose([0], "harm", method="NSigma").how()["method"] == "NSigma"
    plan = study.recourse("harm > 5", target="harm < 5", method="growingspheres")
    assert plan.how()["method"].startswith("GrowingSpheres")
    for room, ask in (
        ("recourse", lambda: study.recourse([0], target="harm < 5", method="Wachtr")),
        ("diagnosis", lambda: study.diagnose([0], "harm", method="nsgma")),
    ):
        with pytest.raises(ValueError, match=f"not a method of {room}.*Did you mean"):
            ask()


def test_a_new_schema_means_a_new_model(chain):
    graph, df = chain
    study = Study(df, graph)
    first = study.scm()
    assert study.scm() is first
    study.schema = study.schema.correct(dose={"unit": "mg"})
    assert study.scm() is not first


def test_warnings_on_the_way_reach_the_answer(clinic):
    study = Study(clinic.frame, clinic.graph, clinic.schema)
    plan = study.recourse([34], target="blood_pressure < 140")
    again = study.recourse([34], target="blood_pressure < 140")
    codes = [w.code for w in plan.warnings]
    assert "count-noise" in codes and codes == [w.code for w in again.warnings]


# -- over the graphs of an ensemble -----------------------------------------------------------


@pytest.fixture
def undecided(chain):
    """Two graphs of weight 0.7 and 0.3: dose reaches harm in the first one only."""
    graph, df = chain
    schema = Schema.infer(df).correct(marker={"actionable": False})
    study = Study(df, graph, schema)
    cut = CausalGraph(graph.nodes, [("marker", "harm")])
    study.ensemble = GraphEnsemble([graph, cut], [0.7, 0.3])
    return study


def test_a_plan_over_graphs_works_under_the_weight_in_which_the_action_acts(undecided):
    with pytest.warns(CausalWarning, match="graph-uncertainty"):
        plan = undecided.recourse("harm > 5", target="harm < 5", over="graphs")
    frame = plan.to_frame()
    assert plan.graphs == 2 and set(frame["status"]) == {"found"}
    np.testing.assert_allclose(frame[["validity", "agreement"]], 0.7)
    today = undecided.df.loc[frame.index]
    expected = today["dose"] - (today["harm"] - 5) / 3
    np.testing.assert_allclose(frame["dose"], expected, rtol=0.1, atol=0.1)
    under = plan.by_graph.groupby("weight").first()
    assert under.loc[0.7, ["status", "plan"]].tolist() == ["found", "lower dose"]
    assert under.loc[0.3, "status"] in ("infeasible", "not found")
    assert under["works"].tolist() == [0.0, 1.0] and under["agrees"].tolist() == [False, True]
    assert "0 of" in plan.verdict() and "median 70%" in plan.verdict()
    assert "70% of their weight" in plan.explain(frame.index[0])
    assert len(plan.plot_graphs().collections) == 2


def test_plans_over_graphs_are_the_same_in_any_order(undecided):
    first = undecided.recourse("harm > 6", target="harm < 5", over="graphs")
    graphs, weights = undecided.ensemble.graphs, undecided.ensemble.weights
    undecided.ensemble = GraphEnsemble(graphs[::-1], weights[::-1])
    again = undecided.recourse("harm > 6", target="harm < 5", over="graphs")
    pd.testing.assert_frame_equal(first.to_frame(), again.to_frame())


def test_graphs_that_no_action_feels_apart_are_solved_once(chain):
    graph, df = chain
    r = np.random.default_rng(0)
    df = df.assign(other=r.normal(size=len(df)), more=r.normal(size=len(df)))
    fixed = {n: {"actionable": False} for n in ("marker", "other", "more")}
    nodes = [*graph.nodes, "other", "more"]
    same = [CausalGraph(nodes, graph.edges), CausalGraph(nodes, [*graph.edges, ("other", "more")])]
    study = Study(df, same[0], Schema.infer(df).correct(fixed))
    study.ensemble = GraphEnsemble(same)
    plan = study.recourse("harm > 6", target="harm < 6", over="graphs")
    assert plan.graphs == 2 and len(plan.by_graph) == len(plan)
    assert (plan.to_frame()[["validity", "agreement"]] == 1).all(axis=None)
    assert "no permitted change is cheaper" in plan.explain(plan.outcomes.index[0]).lower()


def test_a_diagnosis_over_graphs_says_which_share_blames(undecided):
    odd = undecided.df.iloc[[0]].assign(dose=9.0, marker=18.0, harm=27.0)
    ranking = undecided.diagnose(odd, "harm", over="graphs")
    assert ranking.status == "found" and "2 graphs" in ranking.how()["graphs"]
    assert "70% of the graphs" in ranking.reason("dose")


def test_without_an_ensemble_there_is_nothing_to_go_over(chain):
    graph, df = chain
    for drawn in (graph, graph.cpdag()):
        study = Study(df, drawn)
        for ask in (
            lambda s=study: s.effect("dose", "harm", over="graphs"),
            lambda s=study: s.recourse([0], target="harm < 5", over="graphs"),
            lambda s=study: s.diagnose([0], "harm", over="graphs"),
        ):
            with pytest.raises(GraphError, match="no ensemble.*discover"):
                ask()


def test_a_models_decision_does_not_rest_on_the_graph(undecided):
    from sklearn.linear_model import LinearRegression

    model = LinearRegression().fit(undecided.df[["dose"]], undecided.df["harm"])
    with pytest.raises(ValueError, match="'over'"):
        undecided.recourse([0], model=model, target={"below": 5}, over="graphs")


def test_open_directions_weigh_the_same(chain):
    """a - b says a → b under half of the weight, however many other edges are open."""
    r = np.random.default_rng(0)
    pairs = [(f"u{i}", f"v{i}") for i in range(12)]
    df = pd.DataFrame(r.normal(size=(200, 24)), columns=[n for p in pairs for n in p])
    graph = CausalGraph(list(df.columns), [(u, v, "tail", "tail") for u, v in pairs])
    answer = Study(df, graph).effect("u0", "v0", refute=False)  # 4,096 members
    assert "members-drawn" in [w.code for w in answer.warnings]
    shares = answer.to_frame()["share"]
    assert shares["no directed path"] == pytest.approx(0.5, abs=0.05)


# -- the memo tells where edges come from -----------------------------------------------------


def test_the_memo_tells_drawn_required_and_learned_edges_apart(chain, tmp_path):
    graph, df = chain
    schema = Schema.infer(df).correct(marker={"actionable": False})
    study = Study(df, schema=schema)
    study.discover(knowledge=Knowledge(required=[("dose", "marker")]), n_boot=10)
    study.recourse("harm > 6", target="harm < 6", over="graphs")
    html = study.report(tmp_path / "r.html").read_text(encoding="utf-8")
    for text in (
        "1 required by knowledge, 1 learned from the table",
        "u → v, required",
        "number: share of resamples",
        "Edges that were not learned",
        "agreement",
    ):
        assert text in html, text
    ensemble = study.ensemble
    study.graph = study.graph.edited(add=[("dose", "harm")])
    study.ensemble = ensemble
    html = study.report(tmp_path / "e.html").read_text(encoding="utf-8")
    assert "Of 3 edges, 1 drawn by the user, 1 required by knowledge, 1 learned" in html
    assert "u → v, drawn" in html
    plain = Study(df, graph).report(tmp_path / "d.html").read_text(encoding="utf-8")
    assert "Drawn by the user" in plain and "required by knowledge" not in plain


def test_a_study_file_repeats_the_graph_that_was_used(chain, tmp_path):
    _, df = chain
    df.to_csv(tmp_path / "t.csv", index=False)
    study = Study(df)
    study.discover(n_boot=0)
    assert "[discover]" in study.to_toml(tmp_path / "a.toml", "t.csv").read_text()
    study.graph = study.graph.edited(add=[("dose", "harm")])
    study.effect("dose", "harm", refute=False)
    text = study.to_toml(tmp_path / "b.toml", "t.csv").read_text()
    assert "[discover]" not in text and 'graph = "b.graph.json"' in text
    again = Study.from_toml(tmp_path / "b.toml")
    assert again.graph == study.graph and again.graph.origins == study.graph.origins
