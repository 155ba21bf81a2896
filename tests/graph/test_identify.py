"""What identifies an effect: the criteria by their definitions, every subset tried."""

import time
from itertools import chain, combinations, pairwise, product

import numpy as np
import pytest

from workbench.core.errors import GraphError, IdentificationError, ParameterError, QuestionError
from workbench.core.saving import load, save
from workbench.graph import CausalGraph, Estimand, identify
from workbench.graph.equivalence import PartialOrientation
from workbench.graph.separation import (
    adjustment_set,
    adjustment_sets,
    d_separated,
    is_adjustment_set,
)


def subsets(items):
    items = sorted(items)
    return chain.from_iterable(combinations(items, k) for k in range(len(items) + 1))


def random_graph(rng, size, bidirected=0.0, latent=0.0, density=None):
    names = [f"v{i}" for i in range(size)]
    order = rng.permutation(names).tolist()
    density = density or rng.uniform(1.5, 3.5)
    pairs = list(combinations(order, 2))
    edges = [pair for pair in pairs if rng.random() < density / size]
    edges += [(*pair, "arrow", "arrow") for pair in pairs if rng.random() < bidirected / size]
    return CausalGraph(names, edges, latent=[n for n in names if rng.random() < latent])


def without(graph, tails=(), edges=()):
    """The graph without the directed edges out of ``tails`` and without ``edges``."""
    kept = [e for e in graph.edges if e[2] == "arrow" or (e[0] not in tails and e[:2] not in edges)]
    return CausalGraph(graph.nodes, kept, latent=graph.latent)


def is_front_door(graph, t, y, z):
    blocked = set(z)
    stack, seen = [t], set()
    while stack:  # (1) directed paths
        for child in graph.children(stack.pop()):
            if child == y:
                return False
            if child not in blocked | seen:
                seen.add(child)
                stack.append(child)
    first = without(graph, tails={t})
    if not all(d_separated(first, t, node) for node in z):  # (2)
        return False
    return all(d_separated(without(graph, tails=z), node, y, [t]) for node in z)  # (3)


def instrument_sets(graph, t, y):
    """node -> every set given which it is an instrument."""
    on_paths = (graph.descendants(t) & graph.ancestors(y)) | {y}
    cut = without(graph, edges={(t, c) for c in on_paths})
    free = set(graph.observed) - {t, y} - graph.descendants(t)
    return {
        z: [
            frozenset(w)
            for w in subsets(free - {z})
            if not d_separated(graph, z, t, w) and d_separated(cut, z, y, w)
        ]
        for z in free
    }


MIXTURES = [{"bidirected": 1.2}, {"latent": 0.3}, {"bidirected": 0.8, "latent": 0.2}]


def questions(rng, number, size=7, **mixture):
    """Random graphs with a treatment and one of its descendants."""
    while number:
        g = random_graph(rng, int(rng.integers(3, size)), **mixture)
        pairs = [(t, y) for t in g.observed for y in g.observed if y in g.descendants(t)]
        if pairs:
            number -= 1
            yield g, *pairs[rng.integers(len(pairs))]


@pytest.mark.parametrize("mixture", MIXTURES)
def test_front_door_sets_are_found_where_there_are_any_and_are_minimal(mixture):
    found = 0
    for g, t, y in questions(np.random.default_rng(1), 1500, **mixture):
        if y in g.children(t):
            continue
        good = [
            frozenset(z) for z in subsets(set(g.observed) - {t, y}) if is_front_door(g, t, y, z)
        ]
        chosen = identify(g, t, y).mediators
        assert bool(chosen) == bool(good), (g.edges, g.latent, t, y)
        if good:
            found += 1
            assert chosen in good
            assert not any(z < chosen for z in good)
    assert found > 50


@pytest.mark.parametrize("mixture", MIXTURES)
def test_instruments_hold_and_are_found_where_there_are_any(mixture):
    conditional = 0
    for g, t, y in questions(np.random.default_rng(2), 700, **mixture):
        truth = instrument_sets(g, t, y)
        found = {i.name: i.given for i in identify(g, t, y).instruments}
        for z, given in found.items():
            assert given in truth[z], (g.edges, t, y, z, given)
            conditional += bool(given)
        assert bool(found) == any(truth.values())
        for z, sets in truth.items():
            near = g.ancestors([z, y]) | {z, y}
            assert (z in found) == any(w <= near for w in sets), (g.edges, g.latent, t, y, z)
            if frozenset() in sets:
                assert found[z] == frozenset()
    assert conditional > 5


def is_open(graph, path, given):
    """Whether some choice of edges makes the path non-causal and open, by the definition."""
    for edges in product(*(graph.marks(u, v) for u, v in pairwise(path))):
        if all(e == ("tail", "arrow") for e in edges):
            continue
        for node, ((_, entering), (leaving, _)) in zip(path[1:], pairwise(edges), strict=False):
            if entering == leaving == "arrow":
                if not ({node} | graph.descendants(node)) & given:
                    break
            elif node in given:
                break
        else:
            return True
    return False


@pytest.mark.parametrize("mixture", MIXTURES)
def test_where_no_adjustment_works_a_path_is_named_that_stays_open(mixture):
    seen = 0
    for g, t, y in questions(np.random.default_rng(3), 200, **mixture):
        estimand = identify(g, t, y)
        assert bool(estimand.open_path) != bool(estimand.adjustment_sets)
        if path := estimand.open_path:
            assert path[0] == t and path[-1] == y and len(set(path)) == len(path)
            on_paths = (g.descendants(t) & g.ancestors(y)) | {y}
            usable = set(g.observed) - on_paths - g.descendants(on_paths) - {t}
            assert is_open(g, path, usable & g.ancestors([t, y]))
            seen += 1
    assert seen > 20


def test_the_preferred_way_comes_first_and_all_ways_are_listed():
    smoking = CausalGraph(
        ["smoking", "tar", "cancer"],
        [("smoking", "tar"), ("tar", "cancer"), ("smoking", "cancer", "arrow", "arrow")],
    )
    found = identify(smoking, "smoking", "cancer")
    assert found.method == "front-door" and found.mediators == {"tar"}
    assert found.open_path == ("smoking", "cancer")
    assert "smoking ↔ cancer stays open" in found.reason
    assert found.formula() == (
        "E[cancer | do(smoking=t)] = Σ_{tar} P(tar | smoking=t) "
        "Σ_t' E[cancer | smoking=t', tar] P(smoking=t')"
    )
    lottery = CausalGraph(
        ["lot", "t", "y", "u"],
        [("lot", "t"), ("t", "y"), ("u", "t"), ("u", "y")],
        latent=["u"],
    )
    found = identify(lottery, "t", "y")
    assert found.method == "instrument" and found.methods == ("instrument",)
    assert found.columns() == {"T": ("t",), "Y": ("y",), "W": (), "M": (), "Z": ("lot",)}
    assert "Cov(y, lot) / Cov(t, lot)" in found.formula()
    assert any("same for all" in text for text in found.assumptions)
    every = CausalGraph(list("zctmy"), [("z", "t"), ("c", "t"), ("c", "y"), ("t", "m"), ("m", "y")])
    found = identify(every, "t", "y")
    assert found.methods == ("back-door", "front-door", "instrument")
    assert found.columns("front-door")["M"] == ("m",)
    assert found.columns()["W"] == ("c",)
    assert set(found.to_frame()["method"]) == set(found.methods)
    assert set(found.to_frame(long=True)["role"]) == {"W", "M", "Z"}


def test_a_conditional_instrument_comes_with_its_columns():
    g = CausalGraph(
        list("wzty"),
        [("w", "z"), ("w", "y"), ("z", "t"), ("t", "y"), ("t", "y", "arrow", "arrow")],
    )
    found = identify(g, "t", "y")
    assert [(i.name, i.given) for i in found.instruments] == [("z", {"w"})]
    assert found.columns()["W"] == ("w",)
    assert "Cov(y, z | w)" in found.formula()


def test_no_directed_path_is_no_effect():
    g = CausalGraph(list("zty"), [("z", "t"), ("z", "y")])
    found = identify(g, "t", "y")
    assert found.method == "no effect" and found.is_identified
    assert found.formula() == "E[y | do(t=t)] = E[y]"
    assert found.adjustment == {"z"} and "zero" in found.summary()
    backwards = identify(g, "y", "z")
    assert backwards.method == "no effect" and backwards.adjustment_sets == ()


def test_what_is_not_identified_says_so_and_refuses_a_formula():
    g = CausalGraph(["dose", "death"], [("dose", "death"), ("dose", "death", "arrow", "arrow")])
    found = identify(g, "dose", "death")
    assert not found.is_identified and found.method == "not identifiable"
    assert "dose ↔ death" in found.verdict() and "dose ↔ death" in repr(found)
    with pytest.raises(IdentificationError, match="dose ↔ death"):
        found.formula()
    with pytest.raises(IdentificationError, match="front-door"):
        identify(CausalGraph(list("ty"), [("t", "y")]), "t", "y").columns("front-door")


# -- classes -------------------------------------------------------------------------------


def random_class(rng, knowledge):
    dag = random_graph(rng, int(rng.integers(3, 7)))
    graph = dag.cpdag()
    if not knowledge:
        return graph
    partial = PartialOrientation.of(graph)
    for u, v in dag.directed_edges():
        if v in graph.neighbors(u) and rng.random() < 0.3:
            partial.orient(graph.nodes.index(u), graph.nodes.index(v))
    return partial.graph(graph, "mpdag")


@pytest.mark.parametrize("knowledge", [False, True])
def test_a_class_is_identified_when_one_set_serves_every_member(knowledge):
    rng = np.random.default_rng(4)
    undecided = 0
    for _ in range(200):
        g = random_class(rng, knowledge)
        t, y = rng.permutation(g.nodes)[:2].tolist()
        members = g.members(limit=10_000)
        found = identify(g, t, y)
        sets = [set(adjustment_sets(dag, t, y)) for dag in members]
        causal = [y in dag.descendants(t) for dag in members]
        if found.ambiguous:
            undecided += 1
            assert found.method == "not identifiable"
            assert not set.intersection(*sets) and any(causal)
            for u, v in found.ambiguous:
                assert u == t and v in g.neighbors(t)
            assert found.open_path[:2] == found.ambiguous[0]
            assert found.open_path[-1] == y
        elif not any(causal):
            assert found.method == "no effect"
        else:
            assert found.method == "back-door" and all(causal)
            assert all(set(found.adjustment_sets) == s for s in sets)
            assert {adjustment_set(dag, t, y) for dag in members} == {found.adjustment}
    assert undecided > 10


@pytest.mark.parametrize("knowledge", [False, True])
def test_the_edges_that_are_named_decide(knowledge):
    rng = np.random.default_rng(5)
    for _ in range(100):
        g = random_class(rng, knowledge)
        t, y = rng.permutation(g.nodes)[:2].tolist()
        ambiguous = identify(g, t, y).ambiguous
        for dag in g.members(limit=30) if ambiguous else []:
            partial = PartialOrientation.of(g)
            for u, v in ambiguous:
                pair = (u, v) if dag.has_edge(u, v) else (v, u)
                partial.orient(*(g.nodes.index(n) for n in pair))
            assert identify(partial.graph(g, "mpdag"), t, y).is_identified


def test_an_instrument_of_a_class_is_one_in_every_member():
    rng = np.random.default_rng(10)
    seen = 0
    for _ in range(3000):
        dag = random_graph(rng, int(rng.integers(3, 7)), latent=0.3)
        g = dag.cpdag()
        if g.kind == "dag" or len(g.observed) < 3:
            continue
        t, y = rng.permutation(g.observed)[:2].tolist()
        for found in identify(g, t, y).instruments:
            seen += 1
            for member in g.members():
                assert found.given in instrument_sets(member, t, y)[found.name]
    assert seen > 10


def test_a_class_that_does_not_decide_is_not_identified_and_says_what_to_do():
    g = CausalGraph(list("abc"), [("a", "b", "tail", "tail"), ("b", "c", "tail", "tail")])
    found = identify(g, "a", "c")
    assert found.ambiguous == (("a", "b"),) and found.open_path == ("a", "b", "c")
    assert "a — b" in found.reason and "members()" in found.verdict()
    assert {identify(dag, "a", "c").method for dag in g.members()} == {"back-door", "no effect"}


# -- the object ----------------------------------------------------------------------------


@pytest.mark.parametrize("mixture", [{}, *MIXTURES])
def test_every_answer_can_be_shown_and_saved(mixture, tmp_path):
    rng = np.random.default_rng(6)
    for n in range(12):
        g = random_graph(rng, 6, **mixture)
        if len(g.observed) < 2:
            continue
        t, y = g.observed[:2]
        found = identify(g, t, y)
        assert t in found.summary() and y in found.summary()
        assert len(repr(found).split("\n")) <= 10
        assert t in found._repr_html_()
        assert found.assumptions and found.how()
        save(found, tmp_path / str(n))
        back = load(tmp_path / str(n))
        assert isinstance(back, Estimand) and back == found and hash(back) == hash(found)


def test_names_and_order_of_nodes_do_not_matter():
    rng = np.random.default_rng(7)
    for _ in range(40):
        g = random_graph(rng, 6, bidirected=0.6)
        t, y = g.nodes[:2]
        shuffled = CausalGraph(rng.permutation(g.nodes).tolist(), g.edges)
        one, other = identify(g, t, y), identify(shuffled, t, y)
        assert (one.method, one.adjustment, one.mediators) == (
            other.method,
            other.adjustment,
            other.mediators,
        )
        assert set(one.adjustment_sets) == set(other.adjustment_sets)
        assert set(one.instruments) == set(other.instruments)


def test_names_with_anything_in_them_are_escaped():
    g = CausalGraph(["<b>t</b>", "y -> z; ü"], [("<b>t</b>", "y -> z; ü")])
    assert "<b>t</b>" not in identify(g, "<b>t</b>", "y -> z; ü")._repr_html_()


def test_bad_questions_name_the_place():
    g = CausalGraph(["age", "dose", "death"], [("dose", "death")], latent=["age"])
    with pytest.raises(GraphError, match="'dosis'.*Did you mean 'dose'"):
        identify(g, "dosis", "death")
    with pytest.raises(QuestionError, match="'dose'.*both"):
        identify(g, "dose", "dose")
    with pytest.raises(QuestionError, match="'age'.*latent.*outcome"):
        identify(g, "dose", "age")
    with pytest.raises(QuestionError, match="one treatment"):
        identify(g, ["dose", "age"], "death")
    with pytest.raises(ParameterError, match="'limit'"):
        identify(g, "dose", "death", limit=-1)
    with pytest.raises(IdentificationError, match="PAG"):
        identify(CausalGraph(list("ab"), [("a", "b", "circle", "arrow")]), "a", "b")
    with pytest.raises(GraphError, match="contradict"):
        square = [("a", "b"), ("b", "c"), ("c", "d"), ("d", "a")]
        identify(CausalGraph(list("abcd"), [(*e, "tail", "tail") for e in square]), "a", "c")


# -- time ----------------------------------------------------------------------------------


def large_graphs():
    names = [f"v{i}" for i in range(1000)]
    steps = list(zip(names, names[1:], strict=False))
    hub = [("v0", n) for n in names[1:-1]] + [(n, "v999") for n in names[1:-1]]
    backwards = [(v, u) for u, v in steps[1:-1]] + [("v1", "v0"), ("v998", "v999"), ("v0", "v999")]
    confounded = ("v500", "v999", "arrow", "arrow")
    rng = np.random.default_rng(8)
    sparse = random_graph(rng, 1000, density=4)
    mixed = random_graph(rng, 1000, density=4, bidirected=1, latent=0.1)
    yield "chain", CausalGraph(names, steps), "v0", "v999"
    yield "undirected chain", CausalGraph(names, steps).cpdag(), "v500", "v999"
    yield "confounded chain", CausalGraph(names, [*steps, confounded]), "v500", "v999"
    yield "long confounding path", CausalGraph(names, backwards), "v0", "v999"
    yield "mediators", CausalGraph(names, [*hub, ("v0", "v999", "arrow", "arrow")]), "v0", "v999"
    for label, g in (("sparse", sparse), ("class", sparse.cpdag()), ("mixed", mixed)):
        source = sparse if label == "class" else g
        t = max(g.observed[:300], key=lambda n, g=source: len(g.descendants(n)))
        y = next(n for n in reversed(g.observed) if n in source.descendants(t))
        yield label, g, t, y


@pytest.mark.parametrize("case", large_graphs(), ids=lambda case: case[0])
def test_a_thousand_nodes_take_less_than_a_tenth_of_a_second(case):
    _, g, t, y = case
    times = []
    for _ in range(3):
        fresh = CausalGraph(g.nodes, g.edges, latent=g.latent, kind=g.kind)
        start = time.process_time()
        identify(fresh, t, y)
        times.append(time.process_time() - start)
    assert min(times) < 0.1


# -- an independent implementation ---------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("latent", [0.0, 0.25])
def test_dowhy_agrees_where_it_answers(latent):
    import pandas as pd
    from dowhy import CausalModel

    rng = np.random.default_rng(9)
    compared = front = 0
    for g, t, y in questions(rng, 120, size=6, latent=latent):
        found = identify(g, t, y)
        dot = "".join(f'"{n}"[observed="no"];' for n in g.latent) + "".join(
            f'"{n}";' for n in g.nodes
        )
        dot += "".join(f'"{u}" -> "{v}";' for u, v in g.directed_edges())
        data = pd.DataFrame(rng.normal(size=(20, len(g.observed))), columns=list(g.observed))
        model = CausalModel(data, t, y, graph=f"digraph {{{dot}}}")
        theirs = model.identify_effect(proceed_when_unidentifiable=True)
        sets = [
            set(z)
            for key, z in theirs.backdoor_variables.items()
            if z is not None and key != "backdoor"
        ]
        valid = [z for z in sets if not z & g.latent]
        assert bool(found.adjustment_sets) == bool(valid), (g.edges, g.latent, t, y, sets)
        assert all(is_adjustment_set(g, t, y, z) for z in valid)
        ours = {i.name for i in found.instruments if not i.given}
        assert set(theirs.get_instrumental_variables() or ()) - g.latent <= ours
        mediators = set(theirs.get_frontdoor_variables() or ())
        if mediators:
            front += 1
            assert is_front_door(g, t, y, mediators) and found.mediators
        compared += 1
    assert compared > 20
