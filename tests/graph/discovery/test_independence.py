"""Tests of conditional independence, and searches that are told which one to ask."""

import random
import warnings

import numpy as np
import pandas as pd
import pytest

from workbench import CausalWarning, Knowledge, discover
from workbench.core.errors import ParameterError
from workbench.graph import bootstrap
from workbench.graph.discovery import fci, pc
from workbench.graph.discovery.choice import ROWS_FOR_COUNTS, chosen
from workbench.graph.discovery.design import prepare
from workbench.graph.discovery.g_squared import GSquaredTest
from workbench.graph.discovery.independence import GaussianTest
from workbench.graph.discovery.kernel_tests import KernelTest
from workbench.graph.discovery.pc import search
from workbench.graph.discovery.skeleton import Limits


@pytest.fixture(autouse=True)
def quiet():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CausalWarning)
        yield


def named(codes):
    """Codes as names of levels."""
    return "l" + pd.DataFrame(codes).astype(str)


def levels(rng, n=400, d=6):
    """Columns of 2 to 4 levels, some of which depend on others."""
    codes = rng.integers(0, rng.integers(2, 5, size=d), size=(n, d))
    codes[:, 3] = np.where(rng.random(n) < 0.6, codes[:, 0], codes[:, 3])
    codes[:, 4] = codes[:, 3] // 2 + codes[:, 1] % 2
    return named({f"v{i}": codes[:, i] for i in range(d)})


def curves(n, seed=0):
    """a → c ← b, c → d, of which a straight line sees little; e a level."""
    rng = np.random.default_rng(seed)
    a, b = rng.uniform(-2, 2, size=(2, n))
    c = a**2 + np.abs(2 * b) + 0.4 * rng.normal(size=n)
    d = np.sin(c) + 0.2 * rng.normal(size=n)
    return pd.DataFrame({"a": a, "b": b, "c": c, "d": d, "e": rng.choice(["p", "q", "r"], n)})


def ask(test, x, y, *given):
    return test.log_p(x, np.array([y]), np.array([given], dtype=int).reshape(1, -1))[0, 0]


# -- counts ----------------------------------------------------------------------------------


def test_g_squared_of_one_table_is_scipys():
    from scipy.stats import chi2_contingency

    rng = np.random.default_rng(0)
    for _ in range(20):
        df = levels(rng, 150)
        test = GSquaredTest(prepare(df[["v0", "v3"]]))
        table = pd.crosstab(df["v0"], df["v3"])
        wanted = chi2_contingency(table, correction=False, lambda_="log-likelihood")
        statistic, freedom = test.statistic(0, np.array([1]), np.empty((1, 0), dtype=int))
        assert statistic[0, 0] == pytest.approx(wanted.statistic, abs=1e-8)
        assert freedom[0, 0] == wanted.dof
        assert np.exp(ask(test, 0, 1)) == pytest.approx(wanted.pvalue, abs=1e-10)


@pytest.mark.parametrize("seed", range(30))
def test_g_squared_is_that_of_causallearn(seed):
    from causallearn.utils.cit import CIT

    rng = np.random.default_rng(seed)
    df = levels(rng, int(rng.integers(60, 800)))
    design = prepare(df)
    test, names = GSquaredTest(design), list(design.names)
    peer = CIT(df[names].apply(lambda c: c.str[1:].astype(int)).to_numpy(), "gsq")
    for given in ([], [1], [1, 2], [0, 2, 4]):
        given = [g for g in given if g < len(names)]
        rest = [i for i in range(len(names)) if i not in given]
        for x in rest:
            got = test.log_p(x, np.array(rest), np.array([given], dtype=int))[0]
            for y, log_p in zip(rest, got, strict=True):
                if x == y:
                    continue
                wanted = peer(x, y, given)
                # No degrees of freedom: they say independent, we say that there is no answer.
                assert wanted == 1 if log_p == -np.inf else abs(np.exp(log_p) - wanted) < 1e-9


def test_many_sets_at_once_are_answered_like_each_alone():
    test = GSquaredTest(prepare(levels(np.random.default_rng(1))))
    subsets = np.array([[1, 2], [1, 4], [1, 5], [2, 4], [2, 5], [4, 5]])
    together = test.log_p(0, np.array([2, 3]), subsets)
    for row, subset in enumerate(subsets):
        assert together[row, 1] == ask(test, 0, 3, *subset)
        assert (together[row, 0] == -np.inf) == (2 in subset)
        assert ask(test, 3, 0, *subset) == pytest.approx(together[row, 1], rel=1e-9)


def test_a_table_without_degrees_of_freedom_separates_nothing():
    rng = np.random.default_rng(2)
    x, y, other = rng.integers(2, size=(3, 300))
    design = prepare(named({"x": x, "y": y, "z": x ^ y, "other": other}))
    test = GSquaredTest(design)
    other, x, y, z = (design.names.index(c) for c in ("other", "x", "y", "z"))
    assert ask(test, z, other, x, y) == -np.inf
    assert np.isfinite(ask(test, z, other, x))


@pytest.mark.slow
def test_g_squared_keeps_its_level():
    assert uniform(GSquaredTest, 3, 3, 1500)


def uniform(kind, first, second, n):
    """Whether 300 p-values of x ⊥ y | z are uniform where x and y both depend on z only."""
    from scipy.stats import kstest

    p = []
    for seed in range(15):
        rng = np.random.default_rng(seed)
        columns = {}
        for k in range(20):
            z = rng.integers(2, size=n)
            columns[f"x{k:02}"] = (rng.binomial(first - 1, 0.5, size=n) + z) % first
            columns[f"z{k:02}"] = z
            if second > 1:
                columns[f"y{k:02}"] = (rng.integers(second, size=n) // (1 + z)) % second
        df = named(columns)
        if second == 1:
            for k in range(20):
                df[f"y{k:02}"] = columns[f"z{k:02}"] + rng.normal(size=n)
        design = prepare(df)
        test, at = kind(design), design.names.index
        p += [np.exp(ask(test, *(at(f"{c}{k:02}") for c in "xyz"))) for k in range(20)]
    return kstest(p, "uniform").pvalue > 0.01


def test_names_and_order_of_levels_have_no_influence():
    df = levels(np.random.default_rng(3))
    graph = pc(df, test="g2")
    renamed = df.apply(lambda c: c.map({"l0": "z", "l1": "m", "l2": "b", "l3": "a"}))
    assert pc(renamed, test="g2") == graph
    assert pc(df[df.columns[::-1]], test="g2") == graph
    assert pc(df.sample(frac=1, random_state=1), test="g2") == graph


def test_counts_see_what_shares_do_not():
    rng = np.random.default_rng(4)
    x, y = rng.integers(2, size=(2, 2000))
    z = np.where(rng.random(2000) < 0.9, x ^ y, 1 - (x ^ y))
    design = prepare(named({"x": x, "y": y, "z": z}))
    assert ask(GSquaredTest(design), 0, 2, 1) < -100
    assert ask(GaussianTest(design), 0, 2, 1) > -10


# -- kernels ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind, n", [("kci", 150), ("rcit", 500)])
def test_kernels_see_curves_and_explain_them_away(kind, n):
    design = prepare(curves(n))
    test = KernelTest(design, kind)
    a, b, c, d, e = range(5)
    assert ask(test, a, c) < -10 and ask(GaussianTest(design), a, c) > -10
    assert ask(test, b, d, c) > np.log(0.001)
    assert ask(test, a, b) > np.log(0.001) and ask(test, a, e) > np.log(0.001)


@pytest.mark.parametrize("kind, n", [("kci", 60), ("rcit", 400)])
def test_a_question_has_one_answer_whenever_and_whichever_way_it_is_asked(kind, n):
    df = curves(n)
    first, second = (KernelTest(prepare(t), kind) for t in (df, df[df.columns[::-1]]))
    questions = [(0, 2), (0, 1, 2), (3, 1, 2), (0, 3, 2, 1), (0, 4)]
    before = np.random.get_state()[1].copy(), random.getstate()
    forward = [ask(first, *q) for q in questions]
    backward = [ask(second, q[1], q[0], *q[:1:-1]) for q in reversed(questions)][::-1]
    assert forward == backward == [ask(first, *q) for q in questions]
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])
    assert random.getstate() == before[1]
    if kind == "rcit":
        assert forward != [ask(KernelTest(prepare(df), kind, 1), *q) for q in questions]


@pytest.mark.parametrize("kind", ["kci", "rcit"])
def test_scale_and_names_of_levels_leave_kernels_alone(kind):
    df = curves(400 if kind == "rcit" else 80)
    first, second = (KernelTest(prepare(t), kind) for t in (df, df.assign(a=1e6 * df["a"] - 3)))
    assert ask(first, 0, 1, 2) == pytest.approx(ask(second, 0, 1, 2), abs=1e-5)
    renamed = df.assign(e=df["e"].map({"p": "x", "q": "y", "r": "z"}))
    assert ask(KernelTest(prepare(renamed), kind), 0, 4, 2) == ask(first, 0, 4, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind, n", [("kci", 150), ("rcit", 1000)])
def test_kernel_tests_keep_their_level_and_have_power(kind, n):
    null, power = [], []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        z = rng.normal(size=n)
        x = np.sin(2 * z) + 0.5 * rng.normal(size=n)
        y = np.tanh(z) + 0.5 * rng.normal(size=n)
        test = KernelTest(prepare(pd.DataFrame({"x": x, "y": y, "z": z})), kind, seed)
        null.append(ask(test, 0, 1, 2))
        df = pd.DataFrame({"x": x, "y": y + x**2, "z": z})
        power.append(ask(KernelTest(prepare(df), kind, seed), 0, 1, 2))
    assert np.mean(np.array(null) < np.log(0.05)) <= 0.10
    assert np.mean(np.array(power) < np.log(0.05)) >= 0.9


def test_rows_that_are_too_many_or_too_few_for_kernels():
    rng = np.random.default_rng(5)
    with pytest.raises(ParameterError, match="rcit"):
        pc(rng.normal(size=(2001, 2)), test="kci")
    with pytest.warns(CausalWarning, match="few-rows"):
        pc(rng.normal(size=(150, 2)), test="rcit")


# -- searches --------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [pc, fci])
def test_searches_with_kernels_find_curves_in_any_order_of_columns(method):
    df = curves(600)
    graph = method(df, test="rcit")
    found = graph.skeleton()
    assert {frozenset("ac"), frozenset("cd")} <= found and not any("e" in e for e in found)
    assert method(df[["e", "d", "a", "c", "b"]], test="rcit") == graph
    assert "RCIT" in graph.info["explanation"]
    assert len(method(df).skeleton()) < len(found)


def test_the_kernel_skeleton_and_its_collider():
    graph = pc(curves(250), test="kci")
    assert set(graph.directed_edges()) == {("a", "c"), ("b", "c"), ("c", "d")}


def test_columns_choose_the_test_and_the_answer_says_why():
    rng = np.random.default_rng(6)
    few, many = levels(rng, 500), levels(rng, ROWS_FOR_COUNTS)
    for df, test, words in (
        (many, "g2", "All columns are levels and rows are 5,000 or more: G²"),
        (few, "gaussian", "From 5,000 rows on"),
        (many.assign(z=rng.normal(size=len(many))), "gaussian", "Wilks"),
        (curves(100)[["a", "b", "c"]], "gaussian", "Fisher-z"),
    ):
        graph = pc(df)
        assert graph.info["parameters"]["test"] == test and words in graph.info["explanation"]
        assert graph == pc(df, test=test)
    assert isinstance(chosen(prepare(many), "auto"), GSquaredTest)


@pytest.mark.parametrize("bad", ["chisq", "rict", None])
def test_unknown_tests_are_refused(bad):
    with pytest.raises(ParameterError, match="'test': is not a test") as caught:
        pc(np.random.default_rng(0).normal(size=(50, 2)), test=bad)
    assert caught.value.column == "test"


def test_counts_of_numbers_are_refused():
    with pytest.raises(ParameterError, match="levels without numbers"):
        pc(curves(100), test="g2")
    with pytest.raises(ParameterError, match="Did you mean 'rcit'"):
        discover(curves(100), method="pc", test="rict")


class Spy:
    """Hands on every question and keeps it."""

    def __init__(self, test):
        self.test, self.size, self.asked = test, test.size, []

    def log_p(self, x, targets, subsets):
        for y in targets.tolist():
            self.asked.append((min(x, y), max(x, y)))
        return self.test.log_p(x, targets, subsets)


@pytest.mark.parametrize("kind", ["gaussian", "g2", "rcit"])
@pytest.mark.parametrize("method", [pc, fci])
def test_forbidden_pairs_are_never_tested_for_an_edge(kind, method):
    from workbench.graph.discovery.fci import search as search_fci

    df = levels(np.random.default_rng(7), 500) if kind == "g2" else curves(500)
    names = sorted(df)
    tiers = Knowledge(tiers=[names[:2], names[2:]], closed_tiers=[0])
    apart = Knowledge(not_adjacent=[(names[0], n) for n in names[1:]])
    run = search if method is pc else search_fci
    for knowledge in (tiers, apart):
        design = prepare(df, knowledge=knowledge)
        spy = Spy(chosen(design, kind))
        graph = run(design, spy, 0.01, Limits())
        assert knowledge.violations(graph) == []
        # Tiers say how the ends of the pair meet its neighbours; without edges there are none.
        assert (0, 1) not in spy.asked


def test_a_collider_that_knowledge_leaves_open_is_asked_about():
    rng = np.random.default_rng(8)
    a, b, noise = rng.normal(size=(3, 1000))
    df = pd.DataFrame({"a": a, "b": b, "c": a + b + noise})
    known = Knowledge(not_adjacent=[("a", "b")])
    assert set(pc(df, knowledge=known).directed_edges()) == {("a", "c"), ("b", "c")}
    chain = df.assign(c=a + noise, b=a + noise + b)
    graph = pc(chain, knowledge=known)
    assert not list(graph.directed_edges()) and len(graph.edges) == 2


@pytest.mark.parametrize("test, resamples", [("gaussian", 10), ("g2", 10), ("rcit", 2)])
def test_resamples_take_the_test_along(test, resamples):
    rng = np.random.default_rng(9)
    df = levels(rng, 500)[["v0", "v2", "v3"]]
    if test == "rcit":
        df = curves(400)[["a", "c", "e"]]
    options = {"method": "pc", "n_boot": resamples, "test": test, "progress": False}
    ensemble = bootstrap(df, **options)
    pair = ("a", "c") if test == "rcit" else ("v0", "v3")
    assert ensemble.edge_confidence(*pair, "any") == 1
    assert bootstrap(df, **options).graphs == ensemble.graphs


def test_half_of_the_rows_are_searched_with_the_test_of_all():
    rng = np.random.default_rng(10)
    x, y = rng.integers(2, size=(2, 6000))
    z = np.where(rng.random(6000) < 0.8, x ^ y, 1 - (x ^ y))
    w = np.where(rng.random(6000) < 0.9, 2 * x + y, rng.integers(4, size=6000))
    df = named({"w": w, "z": z})
    ensemble = bootstrap(df, "pc", n_boot=10, resample="half", progress=False)
    assert ensemble.info["whole_table"].info["parameters"]["test"] == "g2"
    assert ensemble.edge_confidence("w", "z", "any") == 1


def test_slow_tests_stop_in_time():
    import time

    df = pd.concat([curves(500, s).add_suffix(str(s)) for s in range(3)], axis=1)
    start = time.monotonic()
    with pytest.warns(CausalWarning, match="time-limit"):
        pc(df, test="rcit", time_limit=0.5)
    assert time.monotonic() - start < 2


# -- blocks ----------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("first, second", [(3, 3), (3, 8), (8, 8), (8, 1)])
def test_wilks_p_values_are_uniform_under_independence(first, second):
    assert uniform(GaussianTest, first, second, 600)
