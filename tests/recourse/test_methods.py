"""True of every method: nobody is dropped, no rule is broken, nothing is claimed falsely."""

import numpy as np
import pandas as pd
import pytest

from workbench import Feature, Schema, load
from workbench.core.errors import (
    DataError,
    NotFittedError,
    ParameterError,
    QuestionError,
    SavedStateError,
)
from workbench.recourse import (
    PROBE,
    ROAR,
    Coupling,
    ExactRecourse,
    GenRe,
    GrowingSpheres,
    NearestTarget,
    Recommendations,
    RecourseProblem,
    TrimmedTarget,
    Wachter,
)

LEVELS = ("low", "mid", "high")
SCHEMA = Schema(
    [
        Feature("age", bounds=(18, 100), unit="years", actionable=False),
        Feature("income", bounds=(0, 1e5), unit="EUR", actionable="increase", cost=2.0),
        Feature("rent", bounds=(0, 5e4), unit="EUR"),
        Feature("loans", "count", bounds=(0, 6), actionable="decrease"),
        Feature("grade", "ordinal", levels=LEVELS, actionable="increase"),
        Feature("town", "categorical", levels=("A", "B", "C", "D")),
        Feature("married", "binary", levels=(False, True), actionable=False),
    ]
)
METHODS = [
    ExactRecourse(),
    Wachter(steps=60),
    GrowingSpheres(samples=16, rounds=2),
    NearestTarget(),
    TrimmedTarget(),
    GenRe(score_bar=0.0, unalike="combine", epochs=3),
    ROAR(delta_max=0.02, objective="hard"),
    PROBE(rate=0.3, sigma=0.05),
]
BY_ROWS = (NearestTarget, TrimmedTarget)  # find nothing where the data has nobody alike
BY_INSIDE = (ExactRecourse, ROAR, PROBE)  # need to know more of the model than its scores


def people(n, seed):
    rng = np.random.default_rng(seed)
    income = rng.uniform(1e4, 6e4, n)
    return pd.DataFrame(
        {
            "age": rng.uniform(20, 70, n),
            "income": income,
            "rent": income * rng.uniform(0.1, 0.5, n),
            "loans": rng.integers(0, 6, n),
            "grade": rng.choice(LEVELS, n),
            "town": rng.choice(list("ABCD"), n),
            "married": rng.random(n) < 0.5,
        }
    )


@pytest.fixture(scope="module")
def model():
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    df = people(500, 0)
    score = df["income"] / 1e4 - df["loans"] + 1.5 * (df["grade"] == "high") - df["rent"] / 2e4
    score += (df["town"] == "C") + np.random.default_rng(0).normal(size=len(df))
    prepare = make_column_transformer(
        (StandardScaler(), ["age", "income", "rent", "loans"]),
        (OneHotEncoder(), ["grade", "town", "married"]),
    )
    return make_pipeline(prepare, LogisticRegression()).fit(df, score > 2.5)


@pytest.fixture(scope="module")
def black_box(model):
    return lambda df: model.predict_proba(df)[:, 1] ** 2


def broken_rules(today, plan):
    """Rows of a plan that break a rule, checked on the table itself."""
    new = plan.recommended
    bad = (new["age"] != today["age"]) | (new["married"] != today["married"])
    bad |= (new["income"] < today["income"]) | (new["loans"] > today["loans"])
    order = {v: k for k, v in enumerate(LEVELS)}
    bad |= new["grade"].map(order) < today["grade"].map(order)
    bad |= ~new["income"].between(0, 1e5) | ~new["rent"].between(0, 5e4)
    bad |= ~new["loans"].between(0, 6) | (new["loans"] % 1 != 0)
    bad |= ~new["town"].isin(list("ABCD"))
    bad |= new["rent"] > 0.8 * new["income"] + 1e-3
    return bad & (plan.status == "found")


def check(method, model, n, seed, **more):
    df = people(n, seed)
    data = people(300, 0)
    data = data if not isinstance(method, BY_ROWS) else pd.concat([data, _reachable(df)])
    problem = RecourseProblem(
        model,
        schema=SCHEMA,
        data=data,
        target=more.pop("target", {"above": 0.6}),
        constraints=["rent <= 0.8*income"],
        **more,
    )
    before = df.copy(deep=True)
    plan = method.fit(problem).recommend(df, progress=False)
    pd.testing.assert_frame_equal(df, before)
    assert plan.outcomes.index.equals(df.index) and len(plan.to_frame()) == len(df)
    assert not broken_rules(df, plan).any(), method
    found = (plan.status == "found").to_numpy()
    scores = problem.view.score(plan.recommended)
    assert problem.accepts(scores[found]).all()
    assert (plan.outcomes["cost"][found] > 0).all()
    assert plan.outcomes["cost"][~found].dropna().eq(0).all()
    accepted = problem.accepts(problem.view.score(df))
    assert ((plan.status == "already accepted") == accepted).all()
    if problem.max_changes is not None:
        changed = (plan.recommended != df).sum(axis=1)
        assert (changed[found] <= problem.max_changes).all()
    untouched = ~plan.changed.to_numpy()
    same = (plan.recommended[plan.changed.columns] == df[plan.changed.columns]).to_numpy()
    assert same[untouched].all()
    return found.mean()


def _reachable(df):
    """The same people on a good day, so that somebody has a row to become."""
    return df.assign(income=df["income"] + 3e4, rent=df["rent"] * 0.9, grade="high", loans=0)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("more", [{}, {"max_changes": 2}, {"target": {"below": 0.2}}], ids=str)
def test_no_rule_is_broken(method, model, more):
    share = check(method, model, 60, seed=1, **more)
    # Directions point away from a low score. Of the 60, 30 have it already, for 22 it is proven out
    # of reach; of the other 8 three may become one row of the data each, and the model accepts one
    # of these three ends: a generator has nothing to learn more from.
    few = isinstance(method, GenRe) and "target" in more
    assert share > 0.05 or few or isinstance(method, BY_ROWS)


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_no_rule_is_broken_with_scores_alone(method, black_box):
    if isinstance(method, BY_INSIDE):
        with pytest.raises(QuestionError, match="reads linear models|has no gradient|is not known"):
            check(method, black_box, 6, seed=2)
        return
    assert check(method, black_box, 6, seed=2, target={"above": 0.4}) > 0.1


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_no_rule_is_broken_in_10000_draws(method, model):
    if isinstance(method, GenRe):  # three epochs are for quick tests
        method = GenRe(score_bar=0.0, unalike="combine")
    for seed, more in enumerate([{}, {"max_changes": 3}, {"cost": "linf"}, {"scale": "range"}]):
        assert check(method, model, 2500, seed=10 + seed, **more) > 0.2


def simple(method=None, **more):
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(3)
    df = pd.DataFrame(rng.normal(size=(80, 3)), columns=["a", "b", "c"])
    line = LinearRegression().fit(df, 2 * df["a"] + df["b"] - 0.5 * df["c"])
    problem = RecourseProblem(line, data=df, target={"above": 1.5}, **more)
    return problem, df, line


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
class TestEveryMethod:
    def test_the_order_of_columns_and_rows_is_of_no_influence(self, method):
        problem, df, line = simple()
        plan = method.fit(problem).recommend(df, progress=False)
        again = method.recommend(df[["c", "a", "b"]], progress=False)
        pd.testing.assert_frame_equal(plan.recommended, again.recommended[["a", "b", "c"]])
        rows = np.random.default_rng(0).permutation(len(df))
        shuffled = method.recommend(df.iloc[rows], progress=False)
        pd.testing.assert_frame_equal(plan.recommended.iloc[rows], shuffled.recommended)
        alone = method.recommend(df.iloc[[7]], progress=False)
        pd.testing.assert_frame_equal(alone.recommended, plan.recommended.iloc[[7]])
        other = RecourseProblem(line, data=df[["b", "c", "a"]], target={"above": 1.5})
        third = method.fit(other).recommend(df, progress=False)
        pd.testing.assert_frame_equal(plan.recommended, third.recommended)

    def test_units_are_of_no_influence(self, method):
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        df = simple()[1]
        unit = pd.Series({"a": 1e6, "b": 1e-4, "c": 60.0})
        scaled, plans = df * unit, []
        for table in (df, scaled):
            line = make_pipeline(StandardScaler(), LinearRegression())
            line.fit(table, 2 * df["a"] + df["b"] - 0.5 * df["c"])
            problem = RecourseProblem(line, data=table, target={"above": 1.5})
            plans.append(method.fit(problem).recommend(table, progress=False))
        plan, again = plans
        assert (plan.status == again.status).all()
        assert np.allclose(plan.outcomes["cost"], again.outcomes["cost"], rtol=1e-3, equal_nan=True)
        assert np.allclose(plan.recommended, again.recommended / unit, rtol=1e-3, atol=1e-3)

    def test_the_same_seed_gives_the_same_bits(self, method):
        problem, df, _ = simple()
        first = method.fit(problem).recommend(df, progress=False)
        state = np.random.get_state()[1].copy()
        second = method.fit(problem).recommend(df, progress=False)
        assert (np.random.get_state()[1] == state).all()
        pd.testing.assert_frame_equal(first.to_frame(), second.to_frame())

    def test_a_model_that_never_says_yes(self, method):
        df = simple()[1]
        if isinstance(method, BY_INSIDE):
            problem = RecourseProblem(simple()[2], data=df, target={"above": 1e6})
        else:
            problem = RecourseProblem(lambda d: np.zeros(len(d)), data=df, target={"above": 1})
        plan = method.fit(problem).recommend(df.iloc[:5], progress=False)
        assert set(plan.status) <= {"not found", "infeasible"}
        assert plan.to_frame()[["cost", "a", "b", "c"]].isna().all(axis=None)
        assert plan.outcomes["reason"].str.len().min() > 10
        assert "No" in plan.explain(df.index[0])

    def test_people_who_need_nothing_are_left_alone(self, method):
        problem, df, line = simple()
        happy = df[line.predict(df) >= 1.5]
        plan = method.fit(problem).recommend(happy, progress=False)
        assert set(plan.status) == {"already accepted"}
        pd.testing.assert_frame_equal(plan.recommended, happy)
        assert "needs no change" in plan.explain(happy.index[0])

    def test_an_empty_cell_is_a_status_and_an_empty_table_an_answer(self, method):
        problem, df, _ = simple()
        gaps = df.iloc[:4].copy()
        gaps.loc[2, "b"] = np.nan
        plan = method.fit(problem).recommend(gaps, progress=False)
        assert plan.status[2] == "incomplete" and "'b' is empty" in plan.explain(2)
        assert plan.status.drop(2).ne("incomplete").all()
        nobody = method.recommend(df.iloc[:0], progress=False)
        assert len(nobody.to_frame()) == 0 and "nobody" in repr(nobody)

    def test_tables_that_do_not_fit_are_refused(self, method):
        problem, df, _ = simple()
        method.fit(problem)
        with pytest.raises(DataError, match="'b'"):
            method.recommend(df[["a", "c"]])
        with pytest.raises(DataError, match="'b'.*row 0"):
            method.recommend(df.assign(b="x"))
        with pytest.raises(DataError, match="infinite"):
            method.recommend(df.assign(b=np.inf))

    def test_saved_methods_answer_the_same(self, method, tmp_path):
        problem, df, line = simple(constraints=["a <= b + 3"], max_changes=2)
        plan = method.fit(problem).recommend(df.iloc[:10], progress=False)
        method.save(tmp_path / "method")
        back = load(tmp_path / "method", model=line)
        assert repr(back) == repr(method)
        again = back.recommend(df.iloc[:10], progress=False)
        pd.testing.assert_frame_equal(plan.to_frame(), again.to_frame())

    def test_it_must_be_fitted_to_a_problem(self, method):
        from sklearn.base import clone

        fresh = clone(method)
        assert repr(fresh) == repr(method)
        with pytest.raises(NotFittedError):
            fresh.recommend(simple()[1])
        with pytest.raises(ParameterError, match="RecourseProblem"):
            fresh.fit("problem")


def test_folders_that_hold_parameters_beside_the_problem_are_read():
    problem, df, _ = simple()
    for method, beside in (
        (Wachter(steps=30), "problem_"),
        (ExactRecourse(time_limit=3.0), "problem"),
    ):
        plan = method.fit(problem).recommend(df.iloc[:5], progress=False)
        back = type(method)._from_state(method.get_params() | {beside: problem})
        assert repr(back) == repr(method)
        again = back.recommend(df.iloc[:5], progress=False)
        pd.testing.assert_frame_equal(plan.to_frame(), again.to_frame())


def test_levels_that_are_not_known_are_refused(model):
    df = people(5, 1)
    problem = RecourseProblem(model, schema=SCHEMA, data=people(100, 0))
    method = ExactRecourse().fit(problem)
    with pytest.raises(DataError, match="'town'.*'Z'"):
        method.recommend(df.assign(town=["A", "B", "Z", "A", "B"]))
    with pytest.raises(DataError, match="'income'.*bounds"):
        method.recommend(df.assign(income=-1.0))


def test_a_false_claim_is_never_reported_as_found():
    from workbench.recourse import Actions, RecourseMethod, Status

    class Liar(RecourseMethod):
        def _recommend(self, x, progress):
            wrong, right = x + 0.01, x + 5.0
            values = np.stack([wrong, right] if self.second else [wrong, wrong], axis=1)
            status = Status.where(np.ones(len(x)), "")
            return Actions(np.ones(values.shape, dtype=bool), values, status)

    problem, df, _ = simple(extrapolate=True)
    liar = Liar()
    liar.second = False
    plan = liar.fit(problem).recommend(df, progress=False)
    assert "found" not in set(plan.status)
    liar.second = True  # the second candidate is honest: it is the one that is taken
    plan = liar.fit(problem).recommend(df, progress=False)
    assert "found" in set(plan.status)
    strict, _, _ = simple()  # the same change leaves the range of the data
    assert "found" not in set(liar.fit(strict).recommend(df, progress=False).status)


def test_types_and_other_columns_survive(model):
    df = people(40, 5).assign(name=[f"p{i}" for i in range(40)], score=1.0)
    df["town"] = df["town"].astype("category")
    df.index = [f"row {i}" for i in range(40)]
    problem = RecourseProblem(model, schema=SCHEMA, data=people(200, 0))
    plan = ExactRecourse().fit(problem).recommend(df, progress=False)
    assert plan.recommended.dtypes.equals(df.dtypes)
    assert list(plan.recommended.columns) == list(df.columns)
    frame = plan.to_frame()
    assert "score (recommended)" in frame and frame["name"].dropna().isin(df["name"]).all()
    repeated = pd.concat([df, df])
    plan = ExactRecourse().fit(problem).recommend(repeated, progress=False)
    assert len(plan) == 80
    with pytest.raises(ParameterError, match="names 2 people"):
        plan.explain("row 3")
    with pytest.raises(QuestionError, match="not among the people"):
        plan.explain("row 99")


def test_a_result_can_be_read(model, tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    df = people(30, 6)
    problem = RecourseProblem(model, schema=SCHEMA, data=people(200, 0))
    plan = ExactRecourse().fit(problem).recommend(df, progress=False)
    found = plan.status.index[plan.status == "found"]
    text = plan.explain(found[0])
    assert "probability of True above 0.5" in text and "No permitted change is cheaper" in text
    changes = plan.changes()
    assert set(changes["kind"]) == {"act"} and changes["person"].isin(found).all()
    money = changes[changes["feature"] == "income"]
    assert (money["unit"] == "EUR").all() and (money["change"] > 0).all()
    assert plan.outcomes["plausibility"].between(0, 1).all()
    assert len(repr(plan).splitlines()) <= 10 and "proven" in repr(plan)
    assert "<table" in plan._repr_html_()
    assert plan.plot(found[0]).get_xlabel()
    plan.save(tmp_path / "plan")
    back = Recommendations.load(tmp_path / "plan")
    pd.testing.assert_frame_equal(plan.to_frame(), back.to_frame())
    assert back.explain(found[0]) == text
    with pytest.raises(AttributeError):
        plan.target = "x"


def test_problems_are_saved_with_a_fingerprint_of_the_model(model, black_box, tmp_path):
    problem = RecourseProblem(
        model, schema=SCHEMA, data=people(100, 0), constraints=["rent <= income"], budget=3.0
    )
    problem.save(tmp_path / "problem")
    back = RecourseProblem.load(tmp_path / "problem", model=model)
    assert repr(back) == repr(problem)
    assert back.space.schema == problem.space.schema
    assert back.couplings.items == problem.couplings.items
    with pytest.raises(SavedStateError, match="model="):
        load(tmp_path / "problem")
    with pytest.raises(SavedStateError, match="was saved with a Pipeline"):
        load(tmp_path / "problem", model=black_box)
    from sklearn.base import clone

    df = people(300, 1)
    other = clone(model).fit(df, df["income"] > 3e4)
    with pytest.raises(SavedStateError, match="not the model.*probe rows"):
        load(tmp_path / "problem", model=other)


@pytest.mark.parametrize(
    "more, says",
    [
        ({"cost": "l3"}, "cost"),
        ({"scale": "sdd"}, "Did you mean 'sd'"),
        ({"scale": {"a": 1.0}}, "'b'"),
        ({"scale": {"a": 1.0, "z": 1.0}}, "'z'"),
        ({"max_changes": 0}, "max_changes"),
        ({"budget": -1}, "budget"),
        ({"immutable": ["aa"]}, "Did you mean 'a'"),
        ({"constraints": ["a > b"]}, "can't be read"),
        ({"constraints": ["a + b"]}, "no '>='"),
        ({"constraints": ["a >= q"]}, "'q'"),
        ({"constraints": ["a * b >= 1"]}, "can't be read|linear"),
        ({"constraints": [3]}, "texts"),
        ({"target": {"abov": 1}}, "Did you mean 'above'"),
        ({"target": {"above": 1, "below": 2}}, "range"),
        ({"target": {"above": "x"}}, "number"),
        ({"graph_or_scm": 3}, "StructuralCausalModel"),
        ({"immutable": ["a", "b", "c"]}, "actionable"),
    ],
)
def test_problems_that_make_no_sense_are_refused(more, says):
    df = simple()[1]
    arguments = {"data": df, "target": {"above": 1}} | more
    with pytest.raises((ParameterError, QuestionError), match=says):
        RecourseProblem(lambda d: d["a"], **arguments)


def test_ranges_that_exclude_everything():
    schema = Schema([Feature("a", bounds=(0, 1)), Feature("b", bounds=(0, 1))])
    df = pd.DataFrame({"a": [0.0, 0.5, 1.0], "b": [1.0, 0.2, 0.7]})
    problem = RecourseProblem(
        lambda d: d["a"] + d["b"], schema=schema, data=df, target={"above": 3}
    )
    for method in METHODS:
        if not isinstance(method, BY_INSIDE):
            plan = method.fit(problem).recommend(df, progress=False)
            assert set(plan.status) == {"not found"}


def test_couplings_read_what_they_write():
    for text in ("a - b >= 0", "2*a + 0.5*b <= 3", "a == 4"):
        item = Coupling.read(text)
        assert Coupling.read(item.text) == item
    assert Coupling.read("a >= b") == Coupling({"a": 1, "b": -1}, low=0)
    assert Coupling.read("3 + a*2 <= `my col` - 1") == Coupling({"a": 2, "my col": -1}, high=-4)


@pytest.mark.parametrize("cost", ["l1", "l2", "l0", "linf", "carma"])
@pytest.mark.parametrize("scale", ["sd", "range", "mad", "percentile"])
def test_costs_follow_their_formulas(cost, scale):
    problem, df, _ = simple(cost=cost, scale=scale, schema=None)
    x, z = problem.space.codes(df.iloc[:5]), problem.space.codes(df.iloc[5:10])
    mask = np.ones(x.shape, dtype=bool)
    mask[:, 1] = False
    spread = {
        "sd": df.std(),
        "range": df.max() - df.min(),
        "mad": (df - df.median()).abs().median(),
        "percentile": pd.Series(1.0, df.columns),
    }[scale].to_numpy()
    moves = np.abs(z - x) / spread
    if scale == "percentile":
        ranks = df.rank() / len(df)
        moves = np.abs(ranks.to_numpy()[5:10] - ranks.to_numpy()[:5])
    moves = np.where(mask, moves, 0)
    expected = {
        "l1": moves.sum(1),
        "l2": np.sqrt((moves**2).sum(1)),
        "l0": (moves > 0).sum(1),
        "linf": moves.max(1),
        "carma": (
            np.where(mask, (z - x) ** 2, 0) / (df.std() * (df.max() - df.min())).to_numpy()
        ).sum(1)
        / 3,
    }[cost]
    assert np.allclose(problem.cost(x, mask, z), expected)
