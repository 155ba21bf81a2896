"""The generator: the law of its pairs, its tokens, exact probabilities, rules that always hold."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench import Feature, Schema, load
from workbench.core.errors import DataError, ParameterError, QuestionError
from workbench.recourse import GenRe, RecourseProblem
from workbench.recourse.genre_network import PairTransformer, Writer
from workbench.recourse.genre_pairs import PairLaw
from workbench.recourse.genre_sampler import Sampler
from workbench.recourse.genre_tokens import KEEP, Vocabulary, kernel_weights

LEVELS = ("low", "mid", "high")
SCHEMA = Schema(
    [
        Feature("age", "count", bounds=(18, 80), actionable="increase"),
        Feature("late60", "count", bounds=(0, 9), actionable="decrease"),
        Feature("late90", "count", bounds=(0, 9), actionable="decrease"),
        Feature("income", bounds=(0, 100)),
        Feature("grade", "ordinal", levels=LEVELS, actionable="increase"),
        Feature("town", "categorical", levels=("A", "B", "C", "D")),
        Feature("married", "binary", levels=(False, True), actionable=False),
    ]
)


def people(n, seed):
    rng = np.random.default_rng(seed)
    late = rng.integers(0, 8, n)
    return pd.DataFrame(
        {
            "age": rng.integers(20, 70, n),
            "late60": late,
            "late90": rng.integers(0, late + 1),
            "income": rng.gamma(4.0, 10.0, n).clip(0, 100).round(1),
            "grade": rng.choice(LEVELS, n),
            "town": rng.choice(list("ABCD"), n),
            "married": rng.random(n) < 0.5,
        }
    )


def chance(df):
    z = df["income"] / 15 - df["late60"] / 2 - df["late90"] / 3 + (df["grade"] == "high")
    return 1 / (1 + np.exp(-(z + (df["town"] == "C") - 2.5)))


def made(n=300, seed=0, **more):
    df = people(n, seed)
    labels = np.random.default_rng(seed + 1).random(n) < chance(df)
    more = {"constraints": ["late60 >= late90"], "schema": SCHEMA} | more
    problem = RecourseProblem(chance, data=df, target={"above": 0.5}, **more)
    return problem, df, pd.Series(labels, index=df.index)


@pytest.fixture(scope="module")
def fitted():
    problem, df, labels = made()
    return GenRe(epochs=5, samples=6).fit(problem, labels), df


def line(n=120, seed=3, **more):
    df = pd.DataFrame(np.random.default_rng(seed).normal(size=(n, 2)), columns=["a", "b"])
    more = {"scale": {"a": 1.0, "b": 1.0}} | more
    return RecourseProblem(lambda d: d["a"] + d["b"], data=df, target={"above": 0.5}, **more), df


# -- the law of pairs ----------------------------------------------------------------------


def test_pairs_are_drawn_from_their_law():
    schema = Schema(
        [Feature("a"), Feature("b"), Feature("kind", "binary", levels=(0, 1), actionable=False)]
    )
    df = pd.DataFrame({"a": [0.0, 1.0], "b": [0.0, 1.0], "kind": [0, 1]})
    problem = RecourseProblem(lambda d: d["a"], schema=schema, data=df, target={"above": 0.5},
                              scale={"a": 1.0, "b": 2.0})  # fmt: skip
    targets = np.array([[1, 0, 0], [0.6, 0.4, 0], [0.9, 1.0, 0], [0.7, 0, 1], [0.55, 0.1, 0.0]])
    law = PairLaw(problem, targets, lam=3.0, top_k=10)
    cost = np.array([1.0, 0.8, 1.4, np.inf, 0.6])
    x = np.zeros((1, 3))
    assert np.allclose(law.costs(x)[0], cost)
    share = np.exp(-3 * cost) / np.exp(-3 * cost).sum()
    draws = law.draw(x, 100_000, np.random.default_rng(0))[0]
    seen = np.bincount(draws, minlength=5) / 1e5
    assert seen[3] == 0
    assert (np.abs(seen - share) <= 3 * np.sqrt(share * (1 - share) / 1e5)).all()
    only = PairLaw(problem, targets, lam=3.0, top_k=2).draw(x, 1000, np.random.default_rng(0))
    assert set(only[0]) == {1, 4}
    alone = PairLaw(problem, targets[[3]], lam=3.0, top_k=2)
    assert not alone.has_target(x)[0] and (alone.draw(x, 3, np.random.default_rng(0)) == -1).all()


def test_no_weight_of_the_cost_is_too_large_or_too_small():
    problem, df = line()
    x = problem.space.codes(df)
    targets = x[problem.accepts(problem.scores)]
    nearest = PairLaw(problem, targets, 1e9, 1000)
    draws = nearest.draw(x, 2, np.random.default_rng(0))
    costs = nearest.costs(x)
    assert np.allclose(costs[np.arange(len(x)), draws[:, 0]], costs.min(axis=1))
    even = np.bincount(
        PairLaw(problem, targets, 0.0, 1000).draw(x, 500, np.random.default_rng(0)).ravel()
    )
    assert even.min() > 0.8 * even.mean()


@pytest.mark.parametrize("norm", ["l1", "l2", "l0", "linf"])
@pytest.mark.parametrize("scale", ["sd", "percentile"])
def test_costs_of_pairs_are_those_of_the_problem(norm, scale):
    problem, df, _ = made(60, cost=norm, scale=scale, max_changes=5, budget=8.0)
    x, targets = problem.data[:20], problem.data[20:]
    law = PairLaw(problem, targets, 5.0, 10)
    found = law.costs(x)
    start = np.repeat(x, len(targets), axis=0)
    goal = np.tile(targets, (len(x), 1))
    mask = (goal != start) & problem.movable
    good = problem.permitted(start, mask, goal, goal) & (mask == (goal != start)).all(axis=1)
    expected = np.where(good, problem.cost(start, mask, goal), np.inf).reshape(found.shape)
    assert np.allclose(found, expected) and np.isfinite(found).any()


# -- tokens --------------------------------------------------------------------------------


def test_kernels_sum_to_one_and_peak_at_their_own_bin():
    for width in (0.0, 0.5, 1.0):
        weight = kernel_weights(20, width)
        assert np.allclose(weight.sum(axis=1), 1) and (weight.argmax(axis=1) == np.arange(20)).all()
    assert (kernel_weights(4, 0.0) == np.eye(4)).all()
    inside = kernel_weights(101, 1.0)[50]
    assert abs(-(inside * np.log(inside + 1e-300)).sum() - 1.42) < 0.01  # nats, as published


def test_every_outcome_has_one_sequence_of_tokens():
    problem, _, _ = made()
    data = problem.data
    words = Vocabulary(problem, data, 12)
    x, z = data[:100], data[100:200]
    assert (words.tokens(x, x) == KEEP).all()
    values, allowed = words.options(problem, x)
    assert allowed[:, :, KEEP].all() and (values[:, :, KEEP] == x).all()
    low, high = problem.reach(x)
    inside = (values >= low[:, :, None]) & (values <= high[:, :, None])
    assert inside[allowed].all()
    assert (values[:, :, 1:] != x[:, :, None])[allowed[:, :, 1:]].all()
    for j in range(x.shape[1]):  # what a token means belongs to that token
        for token in range(1, words.size):
            rows = np.flatnonzero(allowed[:, j, token])
            tried = x[rows].copy()
            tried[:, j] = values[rows, j, token]
            assert (words.tokens(x[rows], tried)[:, j] == token).all()
            assert np.isin(tried[:, j], words.values[j]).all()
    assert len(words.starts[problem.space.place("town")]) == 5  # a level is a bin
    assert len(words.starts[problem.space.place("income")]) - 1 <= 12
    still = problem.space.place("married")
    assert not allowed[:, still, 1:].any()
    reachable = allowed[np.arange(100)[:, None], np.arange(x.shape[1]), words.tokens(x, z)]
    assert reachable[:, problem.space.place("town")].all()


# -- the network ---------------------------------------------------------------------------


def test_what_is_cached_is_what_the_network_says():
    net = PairTransformer(1, 4, 6, random_state=1).eval()
    rng = np.random.default_rng(0)
    bins = torch.from_numpy(rng.integers(0, 5, (3, 4)))
    inputs = torch.from_numpy(rng.normal(size=(3, 4, 2))).float()
    tokens = torch.from_numpy(rng.integers(0, 6, (3, 2, 4)))
    writer = Writer(net, bins, inputs, 2)
    flat = tokens.view(6, 4)
    with torch.no_grad():
        steps = [writer.logits(flat[:, j - 1] if j else None) for j in range(4)]
        steps = torch.stack(steps, 1).log_softmax(-1)
        again = torch.arange(3).repeat_interleave(2)
        whole = net(bins[None, again], inputs[None, again], flat[None],
                    torch.zeros(1, 6, 4, 6), torch.ones(1, 6, 4, 6, dtype=torch.bool))  # fmt: skip
    assert torch.allclose(steps, whole[0], atol=1e-5)


def test_probabilities_of_two_features_sum_to_one():
    problem, df = line(constraints=["a + b <= 2.5"], immutable=())
    x = problem.space.codes(df)
    words = Vocabulary(problem, x, 9)
    sampler = Sampler(PairTransformer(1, 2, words.size, random_state=2).eval(), words, problem)
    person = x[:1]
    values, allowed = words.options(problem, person)
    first, second = (values[0, j][allowed[0, j]] for j in (0, 1))
    every = np.stack(np.meshgrid(first, second), -1).reshape(-1, 2)
    log = sampler.log_likelihood(np.repeat(person, len(every), axis=0), every)
    assert abs(np.exp(log).sum() - 1) < 1e-5
    assert np.isneginf(log[every.sum(axis=1) > 2.5 + 1e-6]).all()
    draws = sampler.draw(person, 4000, 1.0, np.random.default_rng(0))
    at = sampler.log_likelihood(np.repeat(person, 4000, axis=0), draws.codes[0])
    assert np.allclose(at, draws.log_likelihood[0], atol=1e-5)
    top = every[log.argmax()]
    share = (np.abs(draws.codes[0] - top) < 1e-12).all(axis=1).mean()
    assert abs(share - np.exp(log.max())) < 3 * np.sqrt(np.exp(log.max()) / 4000)


# -- the method ----------------------------------------------------------------------------


def broken(today, new):
    order = {v: k for k, v in enumerate(LEVELS)}
    bad = (new["married"] != today["married"]) | (new["age"] < today["age"])
    bad |= (new["late60"] > today["late60"]) | (new["late90"] > today["late90"])
    bad |= new["grade"].map(order) < today["grade"].map(order)
    bad |= ~new["town"].isin(list("ABCD")) | ~new["income"].between(0, 100)
    bad |= new["late60"] < new["late90"]
    for name in ("age", "late60", "late90"):
        bad |= new[name] % 1 != 0
    return bad


def test_plans_work_and_keep_every_rule(fitted):
    method, _ = fitted
    df = people(80, 5)
    plan = method.recommend(df, progress=False)
    found = plan.status == "found"
    assert found.sum() > 20 and (chance(plan.recommended)[found] > 0.5).all()
    assert not broken(df, plan.recommended).any()
    whole = GenRe(**(method.get_params() | {"trim": False}))
    whole.__dict__.update({k: v for k, v in vars(method).items() if k.endswith("_")})
    before = whole.recommend(df, progress=False)
    passes = method.acceptance_.accepts(method.problem_.space.codes(before.recommended))
    both = found & (before.status == "found") & passes
    assert plan.outcomes["cost"][both].mean() < before.outcomes["cost"][both].mean()


def test_who_gets_no_sample_that_passes_is_answered_by_a_trimmed_row(fitted):
    method, _ = fitted
    asked = method.problem_.space.codes(people(80, 5))
    asked = asked[~method.problem_.accepts(method.problem_.score(asked))]
    ends, found = method.teacher_.nearest_trimmed(asked)
    plans, sure = method._one_each(asked)
    assert sure[found].all() and (plans[sure] != asked[sure]).any(axis=1).all()
    assert method.acceptance_.accepts(plans[sure]).all()
    mute = GenRe(**(method.get_params() | {"samples": 1, "temperature": 1e-3}))
    mute.__dict__.update({k: v for k, v in vars(method).items() if k.endswith("_")})
    mute._judged = lambda x, codes: (np.zeros(codes.shape[:2], bool), np.zeros(codes.shape[:2]))
    np.testing.assert_array_equal(mute._one_each(asked)[0][found], ends[found])


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), changes=st.sampled_from([None, 2, 4]),
       budget=st.sampled_from([None, 2.0]), frozen=st.sampled_from([(), ("income", "age")]),
)  # fmt: skip
def test_samples_break_no_rule(fitted, seed, changes, budget, frozen):
    method, data = fitted
    strict = RecourseProblem(chance, data=data, schema=SCHEMA, target={"above": 0.5},
                             constraints=["late60 >= late90"], max_changes=changes, budget=budget,
                             immutable=frozen)  # fmt: skip
    df = people(60, seed)
    x = strict.space.codes(df)
    draws = Sampler(method.net_, method.vocabulary_, strict).draw(
        x, 14, 1.0, np.random.default_rng(seed)
    )
    z, start = draws.codes.reshape(-1, x.shape[1]), np.repeat(x, 14, axis=0)
    alive = np.isfinite(draws.log_likelihood).ravel()
    assert alive.mean() > 0.8
    assert strict.permitted(start, z != start, z, z)[alive].all()
    assert not broken(df.loc[df.index.repeat(14)].reset_index(drop=True),
                      strict.space.frame(z))[alive].any()  # fmt: skip
    if changes is not None:
        assert ((z != start).sum(axis=1) <= changes)[alive].all()
    if frozen:
        places = [strict.space.place(n) for n in frozen]
        assert (z == start)[:, places].all()


def test_the_same_seed_gives_the_same_bits_and_order_is_nothing(fitted):
    method, _ = fitted
    df = people(40, 6)
    plan = method.recommend(df, progress=False)
    rows = np.random.default_rng(0).permutation(40)
    mixed = method.recommend(df.iloc[rows][df.columns[::-1]], progress=False)
    pd.testing.assert_frame_equal(plan.recommended.iloc[rows], mixed.recommended[df.columns])
    problem, data, labels = made(200)
    other = RecourseProblem(chance, data=data[data.columns[::-1]], target={"above": 0.5},
                            schema=SCHEMA, constraints=["late60 >= late90"])  # fmt: skip
    small = GenRe(epochs=2)
    first = small.fit(problem, labels).sample(df, 3)
    second = GenRe(epochs=2).fit(other, labels).sample(df, 3)
    pd.testing.assert_frame_equal(first, second)


def test_samples_options_and_likelihoods(fitted):
    method, _ = fitted
    df = people(12, 7).set_index(pd.Index([f"p{i}" for i in range(12)]))
    table = method.sample(df, 5)
    assert len(table) == 60 and list(table["sample"][:5]) == [0, 1, 2, 3, 4]
    today = df.loc[table["person"]].reset_index(drop=True)
    log = method.log_likelihood(today, table[df.columns])
    assert np.allclose(log, table["log_likelihood"], atol=1e-4)
    assert ((table["score"] > 0.5) == table["accepted"]).all()
    several = method.options(people(24, 7), 3)
    assert several.groupby("person").size().max() == 3 and several["confirmed"].all()
    assert (several["cost"] > 0).all() and several["accepted"].all()
    for _, plans in several.groupby("person"):
        assert len(plans[df.columns].drop_duplicates()) == len(plans)
        assert plans["cost"].iloc[0] == plans["cost"].min()
    with pytest.raises(ParameterError, match="n_return"):
        method.options(df, 0)
    with pytest.raises(DataError, match="outcomes"):
        method.log_likelihood(df, df.head(3))
    with pytest.raises(DataError, match="'age'.*|age"):
        method.log_likelihood(df, df.assign(age=[None] + [30] * 11))


def test_a_larger_weight_of_the_cost_gives_cheaper_samples():
    problem, df = line(200)
    labels = df["a"] + df["b"] > 0.5
    cost = []
    for lam in (0.5, 2.0, 10.0):
        method = GenRe(lam=lam, score_bar=0.0, epochs=6).fit(problem, labels)
        cost.append(method.sample(df[~labels].head(60), 8)["cost"].mean())
    x = problem.space.codes(df[~labels].head(60))
    nearest = PairLaw(problem, method.targets_, 1.0, 1000).costs(x).min(axis=1).mean()
    assert cost[0] > cost[1] > cost[2] and cost[2] < 1.6 * nearest + 0.1


def test_people_whom_no_target_resembles_are_told_so():
    problem, df, labels = made(250)
    single = df[df["married"]]
    problem = RecourseProblem(chance, data=single, schema=SCHEMA, target={"above": 0.5})
    method = GenRe(epochs=2).fit(problem, labels[single.index])
    asked = people(30, 9)
    plan = method.recommend(asked, progress=False)
    alone = ~asked["married"] & (plan.status != "already accepted")
    assert alone.any() and (plan.status[alone] == "not found").all()
    assert plan.outcomes["reason"][alone].str.contains("can be reached.*married").all()
    assert not method.sample(asked)["person"].isin(asked.index[~asked["married"]]).any()


def test_a_model_that_never_says_yes():
    df = people(60, 1)
    problem = RecourseProblem(
        lambda d: np.zeros(len(d)), data=df, schema=SCHEMA, target={"above": 1}
    )
    method = GenRe(epochs=2).fit(problem, np.arange(60) % 2 == 0)
    plan = method.recommend(df, progress=False)
    assert set(plan.status) == {"not found"} and "worth becoming" in plan.outcomes["reason"][0]
    with pytest.raises(QuestionError, match="nothing to learn"):
        method.sample(df)


@pytest.mark.parametrize(
    "wrong",
    [
        {"lam": -1},
        {"samples": 0},
        {"temperature": 0},
        {"select": "hh"},
        {"pairs": "x"},
        {"bins": 1},
        {"unalike": "exclued"},
        {"unalike": "exclude", "pairs": "trimmed"},
        {"unalike": "combine", "pairs": "trimmed"},
    ],
    ids=str,
)
def test_parameters_that_make_no_sense_are_refused(wrong):
    problem, df = line()
    with pytest.raises(ParameterError, match=next(iter(wrong))):
        GenRe(**wrong).fit(problem, df["a"] > 0)


def test_own_decisions_in_place_of_outcomes_are_said():
    problem, df = line()
    method = GenRe(score_bar=0.0, epochs=2).fit(problem)
    with pytest.warns(UserWarning, match="no-labels"):
        method.recommend(df, progress=False)


def test_a_generator_distilled_from_trimmed_targets(tmp_path):
    problem, df, labels = made(300)
    method = GenRe(pairs="trimmed", epochs=6).fit(problem, labels)
    asked = people(40, 11)
    plan = method.recommend(asked, progress=False)
    assert (plan.status == "found").sum() > 10 and not broken(asked, plan.recommended).any()
    method.save(tmp_path / "method")
    back = load(tmp_path / "method", model=chance)
    pd.testing.assert_frame_equal(back.recommend(asked, progress=False).to_frame(), plan.to_frame())
