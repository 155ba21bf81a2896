"""Separation and adjustment are what their definitions say, by enumeration."""

from itertools import chain, combinations, product

import numpy as np
import pytest

from workbench.core.errors import GraphError, IdentificationError, ParameterError, QuestionError
from workbench.graph import CausalGraph
from workbench.graph.equivalence import PartialOrientation
from workbench.graph.separation import (
    adjustment_set,
    adjustment_sets,
    d_separated,
    implied_independencies,
    is_adjustment_set,
    minimal_separator,
)

# -- the definitions, by enumeration -------------------------------------------------------


def subsets(items):
    items = sorted(items)
    return chain.from_iterable(combinations(items, k) for k in range(len(items) + 1))


def random_graph(rng, size, bidirected=False, latent=False):
    names = [f"v{i}" for i in range(size)]
    order = rng.permutation(names)
    pairs = list(combinations(order, 2))
    density = rng.uniform(1.5, 4) / size
    edges = [(str(u), str(v)) for u, v in pairs if rng.random() < density]
    if bidirected:
        edges += [(str(u), str(v), "arrow", "arrow") for u, v in pairs if rng.random() < 1.2 / size]
    hidden = [n for n in names if rng.random() < 0.25] if latent else []
    return CausalGraph(names, edges, latent=hidden)


def paths(graph, x, y):
    """All simple paths as lists of (node, mark at node, mark at next, next)."""
    around = {n: [] for n in graph.nodes}
    for u, v, a, b in graph.edges:
        around[u].append((u, a, b, v))
        around[v].append((v, b, a, u))

    def grow(path, seen):
        end = path[-1][3] if path else x
        if end == y:
            yield path
            return
        for step in around[end]:
            if step[3] not in seen:
                yield from grow([*path, step], seen | {step[3]})

    return list(grow([], {x}))


def is_open(graph, path, given):
    for (_, _, entering, node), (_, leaving, _, _) in zip(path, path[1:], strict=False):
        if entering == leaving == "arrow":
            if not ({node} | graph.descendants(node)) & set(given):
                return False
        elif node in given:
            return False
    return True


def is_causal(path):
    return all((a, b) == ("tail", "arrow") for _, a, b, _ in path)


def valid_sets(graph, t, y):
    """All observed sets that meet the adjustment criterion, by its definition."""
    every = paths(graph, t, y)
    on_causal = {step[3] for p in every if is_causal(p) for step in p}
    forbidden = on_causal | graph.descendants(on_causal) if on_causal else set()
    others = [p for p in every if not is_causal(p)]
    free = set(graph.observed) - {t, y} - forbidden
    return {
        frozenset(z) for z in subsets(free) if not any(is_open(graph, p, set(z)) for p in others)
    }


def all_members(graph):
    """Every DAG that orients the undirected edges without a cycle or a new unshielded collider."""
    fixed = [e for e in graph.edges if e[3] == "arrow"]
    free = [e[:2] for e in graph.edges if e[3] == "tail"]
    wanted = colliders(graph)
    for turn in product((False, True), repeat=len(free)):
        edges = fixed + [(v, u) if t else (u, v) for (u, v), t in zip(free, turn, strict=True)]
        try:
            dag = CausalGraph(graph.nodes, edges, latent=graph.latent)
        except GraphError:
            continue
        if colliders(dag) == wanted:
            yield dag


def colliders(graph):
    return {
        (frozenset((a, b)), n)
        for n in graph.nodes
        for a, b in combinations(graph.parents(n), 2)
        if b not in graph.adjacent(a)
    }


def random_class(rng, size, knowledge):
    """A CPDAG, or with knowledge an MPDAG, whose undirected edges are few enough to enumerate."""
    dag = random_graph(rng, size)
    graph = dag.cpdag()
    if not knowledge:
        return graph
    partial = PartialOrientation.of(graph)
    for u, v in dag.directed_edges():
        if v in graph.neighbors(u) and rng.random() < 0.3:
            partial.orient(graph.nodes.index(u), graph.nodes.index(v))
    if rng.random() < 0.5:  # knowledge that nobody has drawn conclusions from is understood too
        partial.close()
    return partial.graph(graph, "mpdag")


KINDS = {"dag": {}, "latent": {"latent": True}, "admg": {"bidirected": True}}
KINDS["admg with latent"] = {"bidirected": True, "latent": True}


# -- separation ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_separation_is_what_blocking_every_path_says(kind):
    rng = np.random.default_rng(1)
    for _ in range(500):
        g = random_graph(rng, int(rng.integers(2, 8)), **KINDS[kind])
        if len(g.observed) < 2:
            continue
        x, y, *rest = rng.permutation(g.observed).tolist()
        every = paths(g, x, y)
        for given in subsets(rest):
            blocked = not any(is_open(g, p, set(given)) for p in every)
            assert d_separated(g, x, y, given) == blocked, (g.edges, x, y, given)
            assert d_separated(g, y, x, given) == blocked


def test_sets_are_separated_when_all_their_pairs_are():
    rng = np.random.default_rng(2)
    for _ in range(100):
        g = random_graph(rng, 7, bidirected=True)
        x, y, z = np.split(rng.permutation(g.nodes), [2, 4])
        pairs = all(d_separated(g, str(a), str(b), z.tolist()) for a in x for b in y)
        assert d_separated(g, x.tolist(), y.tolist(), z.tolist()) == pairs


@pytest.mark.parametrize("knowledge", [False, True])
def test_a_class_separates_as_each_of_its_members_does(knowledge):
    rng = np.random.default_rng(3)
    for _ in range(40):
        g = random_class(rng, 5, knowledge)
        x, y, *rest = rng.permutation(g.nodes).tolist()
        for given in subsets(rest):
            answers = {d_separated(dag, x, y, given) for dag in all_members(g)}
            assert answers == {d_separated(g, x, y, given)}


@pytest.mark.parametrize("size", [3, 4])
def test_a_pag_separates_as_each_of_its_ancestral_graphs_does(size):
    names = "abcd"[:size]
    pairs = list(combinations(names, 2))
    ends = [None, ("tail", "arrow"), ("arrow", "tail"), ("arrow", "arrow")]
    questions = [(x, y, z) for x, y in pairs for z in subsets(set(names) - {x, y})]
    classes = {}
    for chosen in product(ends, repeat=len(pairs)):
        marks = {p: m for p, m in zip(pairs, chosen, strict=True) if m}
        try:
            g = CausalGraph(list(names), [(*p, *m) for p, m in marks.items()], kind="admg")
        except GraphError:
            continue
        spouses = [p for p, m in marks.items() if m == ("arrow", "arrow")]
        if any(u in g.ancestors(v) or v in g.ancestors(u) for u, v in spouses):
            continue
        model = frozenset(q for q in questions if d_separated(g, *q))
        apart = {(x, y) for x, y, _ in model}
        if all(p in marks or p in apart for p in pairs):  # maximal
            classes.setdefault(model, []).append(marks)
    assert len(classes) > 10
    for model, members in classes.items():
        edges = []
        for pair in members[0]:
            a, b = ({m[pair][end] for m in members} for end in (0, 1))
            marks = [s.pop() if len(s) == 1 else "circle" for s in (a, b)]
            edges.append((*pair, *marks))
        pag = CausalGraph(list(names), edges, kind="pag")
        assert {q for q in questions if d_separated(pag, *q)} == model, edges


def test_marks_that_no_pag_has_are_refused():
    selection = CausalGraph(list("ab"), [("a", "b", "tail", "circle")])
    with pytest.raises(GraphError, match="selection"):
        d_separated(selection, "a", "b")
    almost_cyclic = CausalGraph(
        list("abc"), [("a", "b"), ("b", "c"), ("a", "c", "arrow", "arrow")], kind="pag"
    )
    with pytest.raises(GraphError, match="not a valid PAG"):
        d_separated(almost_cyclic, "a", "c")
    square = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]
    circles = CausalGraph(list("abcd"), [(*e, "circle", "circle") for e in square])
    with pytest.raises(GraphError, match="unshielded colliders"):
        d_separated(circles, "a", "c")


def test_bad_questions_name_the_node():
    g = CausalGraph(["age", "bmi", "u"], [("age", "bmi"), ("u", "bmi")], latent=["u"])
    with pytest.raises(GraphError, match="'agee'.*Did you mean 'age'"):
        d_separated(g, "agee", "bmi")
    with pytest.raises(GraphError, match="'u'.*latent"):
        d_separated(g, "age", "bmi", ["u"])
    with pytest.raises(GraphError, match="'age'.*both x and given"):
        d_separated(g, "age", "bmi", ["age"])
    with pytest.raises(GraphError, match="'bmi'.*both x and y"):
        d_separated(g, "bmi", "bmi")


@pytest.mark.parametrize("kind", KINDS)
def test_a_minimal_separator_is_one_and_is_found_if_there_is_one(kind):
    rng = np.random.default_rng(4)
    for _ in range(80):
        g = random_graph(rng, 6, **KINDS[kind])
        if len(g.observed) < 3:
            continue
        x, y, first, *rest = rng.permutation(g.observed).tolist()
        for include, within in [((), None), ((first,), None), ((), rest)]:
            can = set(rest) | {first} if within is None else set(within)
            good = [
                set(z) for z in subsets(can) if set(include) <= set(z) and d_separated(g, x, y, z)
            ]
            found = minimal_separator(g, x, y, include, within)
            assert (found is None) == (not good)
            if found is not None:
                assert found in good and not any(z < found for z in good)


# -- adjustment ----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_adjustment_is_what_its_criterion_says(kind):
    rng = np.random.default_rng(5)
    possible = 0
    for _ in range(500):
        g = random_graph(rng, int(rng.integers(3, 8)), **KINDS[kind])
        if len(g.observed) < 2:
            continue
        t, y, *rest = rng.permutation(g.observed).tolist()
        good = valid_sets(g, t, y)
        for z in subsets(rest):
            assert is_adjustment_set(g, t, y, z) == (frozenset(z) in good), (g.edges, t, y, z)
        minimal = {z for z in good if not any(other < z for other in good)}
        listed = adjustment_sets(g, t, y)
        assert set(listed) == minimal and len(listed) == len(minimal)
        assert [len(z) for z in listed] == sorted(len(z) for z in listed)
        if good:
            possible += 1
            assert adjustment_set(g, t, y) in good
        else:
            with pytest.raises(IdentificationError, match="stays open"):
                adjustment_set(g, t, y)
    assert possible > 100


def test_few_sets_are_still_led_by_a_smallest_one():
    rng = np.random.default_rng(6)
    for _ in range(60):
        g = random_graph(rng, 7)
        t, y = rng.permutation(g.nodes)[:2].tolist()
        every = adjustment_sets(g, t, y)
        for limit in (1, 2, 3):
            some = adjustment_sets(g, t, y, limit)
            assert set(some) <= set(every) and len(some) == min(limit, len(every))
            assert [len(z) for z in some[:1]] == [len(z) for z in every[:1]]


def test_one_cause_of_many_confounders_is_the_smallest_set():
    confounders = [f"c{i}" for i in range(8)]
    edges = [("root", "t"), ("t", "y"), *(("root", c) for c in confounders)]
    g = CausalGraph(["root", *confounders, "t", "y"], edges + [(c, "y") for c in confounders])
    assert adjustment_sets(g, "t", "y", limit=1) == [{"root"}]
    assert adjustment_set(g, "t", "y") == {*confounders, "root"} - {"root"}


def covariance(graph, rng):
    """Population covariance of a random linear model, in the order of the nodes."""
    size = len(graph.nodes)
    weights = np.zeros((size, size))
    for u, v in graph.directed_edges():
        weights[graph.nodes.index(v), graph.nodes.index(u)] = rng.normal()
    mix = np.linalg.inv(np.eye(size) - weights)
    return mix @ np.diag(rng.uniform(0.5, 2, size)) @ mix.T


def residual_variance(sigma, i, given):
    given = list(given)
    block = sigma[np.ix_(given, given)]
    return sigma[i, i] - sigma[i, given] @ np.linalg.solve(block, sigma[given, i])


@pytest.mark.parametrize("latent", [False, True])
def test_no_valid_set_has_a_smaller_asymptotic_variance_than_the_optimal_one(latent):
    rng = np.random.default_rng(7)
    checked = 0
    for _ in range(200):
        g = random_graph(rng, 6, latent=latent)
        if len(g.observed) < 2:
            continue
        t, y = rng.permutation(g.observed)[:2].tolist()
        mediating = (g.descendants(t) & g.ancestors(y)) | {y}
        parents = {p for n in mediating for p in g.parents(n)}
        optimal = parents - g.descendants(mediating) - mediating - {t}
        if t not in g.ancestors(y) or optimal & g.latent:
            continue
        assert adjustment_set(g, t, y) == optimal
        sigma, at = covariance(g, rng), g.nodes.index

        def variance(z, sigma=sigma, at=at, t=t, y=y):
            z = [at(n) for n in z]
            outcome = residual_variance(sigma, at(y), [at(t), *z])
            return outcome / residual_variance(sigma, at(t), z)

        best = min(variance(z) for z in valid_sets(g, t, y))
        assert variance(optimal) <= best * (1 + 1e-9)
        checked += 1
    assert checked > 30


@pytest.mark.parametrize("knowledge", [False, True])
def test_adjustment_in_a_class_is_adjustment_in_each_member(knowledge):
    rng = np.random.default_rng(8)
    amenable = 0
    for _ in range(200):
        g = random_class(rng, int(rng.integers(3, 7)), knowledge)
        t, y, *rest = rng.permutation(g.nodes).tolist()
        dags = list(all_members(g))
        good = {
            frozenset(z)
            for z in subsets(rest)
            if all(is_adjustment_set(dag, t, y, z) for dag in dags)
        }
        assert {frozenset(z) for z in subsets(rest) if is_adjustment_set(g, t, y, z)} == good
        minimal = {z for z in good if not any(other < z for other in good)}
        assert set(adjustment_sets(g, t, y)) == minimal
        if good:
            amenable += 1
            assert {adjustment_set(dag, t, y) for dag in dags} >= {adjustment_set(g, t, y)}
            assert adjustment_set(g, t, y) in good
        elif any(y in dag.descendants(t) for dag in dags):
            with pytest.raises(IdentificationError):
                adjustment_set(g, t, y)
    assert 40 < amenable < 200


def test_a_class_that_does_not_decide_names_the_edges():
    g = CausalGraph(list("abc"), [("a", "b", "tail", "tail"), ("b", "c", "tail", "tail")])
    with pytest.raises(IdentificationError, match="does not decide the direction of a — b"):
        adjustment_set(g, "a", "c")
    assert adjustment_sets(g, "a", "c") == []


def test_adjustment_refuses_what_it_can_not_answer():
    g = CausalGraph(list("tyu"), [("t", "y"), ("u", "t"), ("u", "y")], latent="u")
    with pytest.raises(IdentificationError, match="t ← u → y stays open"):
        adjustment_set(g, "t", "y")
    with pytest.raises(QuestionError, match="'t'.*both treatment and outcome"):
        adjustment_set(g, "t", "t")
    with pytest.raises(QuestionError, match="'u'.*latent"):
        adjustment_set(g, "u", "y")
    with pytest.raises(QuestionError, match="one node"):
        adjustment_set(g, ["t"], "y")
    with pytest.raises(GraphError, match="'u'.*latent"):
        is_adjustment_set(g, "t", "y", ["u"])
    with pytest.raises(ParameterError, match="limit"):
        adjustment_sets(g, "t", "y", limit=0)
    pag = CausalGraph(list("ab"), [("a", "b", "circle", "arrow")])
    with pytest.raises(IdentificationError, match="PAG"):
        adjustment_set(pag, "a", "b")


# -- implications --------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_implied_independencies_hold_and_cover_every_separable_pair(kind):
    rng = np.random.default_rng(9)
    for _ in range(40):
        g = random_graph(rng, 6, **KINDS[kind])
        found = implied_independencies(g)
        for s in found:
            assert d_separated(g, s.x, s.y, s.given)
        pairs = {frozenset((s.x, s.y)) for s in found}
        assert len(pairs) == len(found)
        for x, y in combinations(g.observed, 2):
            rest = set(g.observed) - {x, y}
            apart = any(d_separated(g, x, y, z) for z in subsets(rest))
            assert apart == (frozenset((x, y)) in pairs)
        assert implied_independencies(g, limit=2) == found[:2]


def test_a_class_implies_what_its_members_imply():
    g = CausalGraph(list("abc"), [("a", "b"), ("b", "c")]).cpdag()
    (only,) = implied_independencies(g)
    assert {only.x, only.y} == {"a", "c"} and only.given == {"b"}
