"""Options differ in what they act on, are verified, and with exact answers the cheapest."""

from itertools import combinations

import numpy as np
import pandas as pd
import pytest

from workbench import load
from workbench.core.errors import NotFittedError, ParameterError
from workbench.recourse import (
    ExactRecourse,
    GrowingSpheres,
    NearestTarget,
    RecourseProblem,
    Wachter,
    alternatives,
)

METHODS = [
    ExactRecourse(),
    Wachter(steps=20),
    GrowingSpheres(samples=8, rounds=1),
    NearestTarget(),
]
WEIGHTS = pd.Series({"a": 2.0, "b": 1.0, "c": -0.5, "d": 0.8})


def pose(n=30, **more):
    from sklearn.linear_model import LinearRegression

    rng = np.random.default_rng(0)
    df = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    model = LinearRegression().fit(df, df @ WEIGHTS)
    return RecourseProblem(model, data=df, target={"above": 1.5}, **more), df


def acts(plan, i):
    return {n for n in plan.acted.columns if plan.acted[n].iloc[i]}


@pytest.mark.parametrize("method", METHODS, ids=lambda m: type(m).__name__)
def test_options_are_found_verified_and_different(method):
    problem, df = pose()
    before = df.copy(deep=True)
    options = alternatives(method.fit(problem), df.iloc[:8], k=3, progress=False)
    pd.testing.assert_frame_equal(df, before)
    people = df.iloc[:8]
    for m, plan in enumerate(options.options):
        found = np.flatnonzero(plan.status == "found")
        x, z = (problem.space.codes(t.iloc[found]) for t in (people, plan.recommended))
        mask = plan.acted.to_numpy()[found]
        assert problem.accepts(problem.view.score(plan.recommended.iloc[found])).all()
        assert problem.permitted(x, mask, z, z).all() and ((x != z) == mask).all()
        assert np.allclose(plan.outcomes["cost"].iloc[found], problem.cost(x, mask, z))
        for i in found:
            earlier = [acts(p, i) for p in options.options[:m]]
            assert not any(acts(plan, i) >= other for other in earlier)
    first = method.recommend(people, progress=False)
    pd.testing.assert_frame_equal(options.options[0].to_frame(), first.to_frame())
    # The nearest row differs in every number, so that nobody has it with one left alone.
    assert (options.counts > 1).any() or isinstance(method, NearestTarget)
    again = alternatives(method.fit(problem), people, k=3, progress=False)
    pd.testing.assert_frame_equal(options.to_frame(), again.to_frame())


def test_exact_options_are_the_cheapest_of_their_kind():
    problem, df = pose()
    method = ExactRecourse().fit(problem)
    options = alternatives(method, df, k=3, progress=False)
    some = np.flatnonzero(options.counts >= 2)[:4]
    by_set = {}
    for size in range(1, 5):
        for chosen in combinations("abcd", size):
            other = problem.without(set("abcd") - set(chosen))
            plan = ExactRecourse().fit(other).recommend(df.iloc[some], progress=False)
            by_set[frozenset(chosen)] = plan.outcomes["cost"].fillna(np.inf).to_numpy()
    for at, i in enumerate(some):
        earlier = [acts(options.options[0], i)]
        for plan in options.options[1:]:
            free = [s for s in by_set if not any(s >= e for e in earlier)]
            best = min(by_set[s][at] for s in free)
            if plan.status.iloc[i] != "found":
                assert np.isinf(best)
                break
            assert np.isclose(plan.outcomes["cost"].iloc[i], best)
            earlier.append(acts(plan, i))
    costs = np.array([p.outcomes["cost"] for p in options.options])[:, options.counts == 3]
    assert (np.diff(costs, axis=0) >= -1e-9).all()


def test_everybody_is_kept_and_can_be_told(tmp_path):
    import matplotlib

    matplotlib.use("Agg")
    problem, df = pose(budget=2.0)
    df.loc[3, "b"] = np.nan
    df.index = [f"p{i}" for i in df.index]
    options = alternatives(ExactRecourse().fit(problem), df, k=3, progress=False)
    assert all(len(plan) == len(df) for plan in options.options)
    frame = options.to_frame()
    assert set(frame.index) == set(df.index) and (frame["status"] == "incomplete").sum() == 1
    assert len(frame) == options.counts.clip(lower=1).sum()
    assert "'b' is empty" in options.explain("p3")
    several = options.counts.index[options.counts > 1][0]
    assert f"{several} has" in options.explain(several)
    assert options.explain(several).count("That costs") == options.counts[several]
    assert options.plot(several).get_xlabel() and len(repr(options).splitlines()) <= 10
    assert set(options.to_frame(long=True)["option"]) <= {1, 2, 3}
    options.save(tmp_path / "options")
    pd.testing.assert_frame_equal(load(tmp_path / "options").to_frame(), frame)
    nobody = alternatives(ExactRecourse().fit(problem), df.iloc[:0], progress=False)
    assert len(nobody.to_frame()) == 0


def test_types_survive_and_odd_arguments_are_refused():
    rng = np.random.default_rng(1)
    df = pd.DataFrame({"n": rng.integers(0, 9, 40), "t": rng.choice(["u", "v"], 40)})
    df["t"] = df["t"].astype("category")
    problem = RecourseProblem(
        lambda d: d["n"] + 3.0 * (d["t"] == "v"), data=df, target={"above": 7}
    )
    method = GrowingSpheres(samples=8, rounds=1).fit(problem)
    options = alternatives(method, df, k=2, progress=False)
    assert (options.counts == 2).any()
    assert all(p.recommended.dtypes.equals(df.dtypes) for p in options.options)
    with pytest.raises(ParameterError, match="'k'"):
        alternatives(method, df, k=0)
    with pytest.raises(ParameterError, match="method"):
        alternatives(problem, df)
    with pytest.raises(NotFittedError):
        alternatives(ExactRecourse(), df)


def test_methods_that_learn_keep_their_outcomes_for_every_option():
    df = pd.DataFrame([(a, b) for a in range(10) for b in range(10)], columns=["a", "b"])
    happened = df["a"] + df["b"] >= 9
    problem = RecourseProblem(lambda d: d["a"] + d["b"], data=df, target={"above": 5})
    method = NearestTarget().fit(problem, happened)
    options = alternatives(method, pd.DataFrame({"a": [2], "b": [2]}), k=2, progress=False)
    ends = pd.concat([plan.recommended for plan in options.options])
    assert len(options.options) == 2 and not options.warnings
    assert (ends["a"] + ends["b"] >= 9).all()
