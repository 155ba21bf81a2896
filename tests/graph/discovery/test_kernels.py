"""The compiled loops answer as the batched tests do, and as linear algebra on each set does."""

import subprocess
import sys
import warnings
from itertools import combinations

import numpy as np
import pytest

from workbench import Knowledge
from workbench.graph.discovery.design import prepare
from workbench.graph.discovery.independence import GaussianTest, fisher_z, log_p_of_z
from workbench.graph.discovery.kernels import unshielded_triples, weakest_links
from workbench.graph.discovery.pc import search
from workbench.graph.discovery.skeleton import Limits, evidence, skeleton


class Batched:
    """A Gaussian test that doesn't say so: it is asked in batches."""

    def __init__(self, design):
        self.test = GaussianTest(design)
        self.size = self.test.size

    def log_p(self, *question):
        return self.test.log_p(*question)


def problem(seed, random_dag, linear_sample):
    rng = np.random.default_rng(seed)
    d = int(rng.integers(4, 22))
    dag = random_dag(rng, d, degree=4)
    order = list(dag.topological_order())
    knowledge = None
    if seed % 2:
        knowledge = Knowledge(
            tiers=[order[: d // 3], order[d // 3 :]],
            required=[e for e in sorted(dag.directed_edges()) if rng.random() < 0.1],
            not_adjacent=[
                p for p in combinations(order, 2) if not dag.marks(*p) and rng.random() < 0.2
            ],
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return prepare(
            linear_sample(rng, dag, int(rng.choice([60, 300, 2000]))), knowledge=knowledge
        )


@pytest.mark.parametrize("seed", range(50))
def test_compiled_and_batched_searches_agree(seed, random_dag, linear_sample):
    design = problem(seed, random_dag, linear_sample)
    allowed = design.knowledge.allowed(design.names)
    required = np.zeros_like(allowed)
    found = []
    for test in (GaussianTest(design), Batched(design)):
        limits = Limits()
        left = skeleton(test, allowed, required, np.log(0.01), limits)
        triples, without, within = evidence(test, left.adjacent, allowed, limits)
        found.append((left, triples, without - within, limits))
    (fast, triples, e, limits), (slow, wanted_triples, wanted_e, wanted_limits) = found
    np.testing.assert_array_equal(fast.adjacent, slow.adjacent)
    np.testing.assert_array_equal(fast.pairs, slow.pairs)
    np.testing.assert_array_equal(fast.members, slow.members)
    np.testing.assert_allclose(fast.log_p, slow.log_p, rtol=1e-8, atol=1e-10)
    np.testing.assert_array_equal(triples, wanted_triples)
    np.testing.assert_allclose(e, wanted_e, rtol=1e-7, atol=1e-9)
    assert (limits.tests, limits.reached) == (wanted_limits.tests, wanted_limits.reached)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graphs = [search(design, t, 0.01) for t in (GaussianTest(design), Batched(design))]
    assert graphs[0] == graphs[1]
    assert graphs[0].info["separating_sets"] == graphs[1].info["separating_sets"]


def test_the_least_partial_correlation_over_all_sets_of_a_size(random_dag):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(100, 6)) @ rng.normal(size=(6, 6))
    correlation = np.corrcoef(x.T)
    starts = np.arange(7) * 5
    columns = np.array([j for i in range(6) for j in range(6) if j != i])
    for level in range(5):
        best, sets = np.full(30, np.inf), np.full((30, level), -1)
        rows = np.full(6, 5)
        weakest_links(correlation, starts, columns, rows, level, 0, 6, best, sets)
        for at, (i, j) in enumerate((i, j) for i in range(6) for j in range(6) if i != j):
            others = [k for k in range(6) if k not in (i, j)]
            wanted = {}
            for given in combinations(others, level):
                inverse = np.linalg.inv(correlation[np.ix_([i, j, *given], [i, j, *given])])
                wanted[given] = inverse[0, 1] ** 2 / (inverse[0, 0] * inverse[1, 1])
            assert best[at] == pytest.approx(min(wanted.values()), rel=1e-8)
            assert wanted[tuple(sorted(sets[at]))] == pytest.approx(best[at], rel=1e-8)


def test_a_set_that_determines_a_variable_never_separates():
    # c = a + b exactly, except for what rounding leaves: given both, no test of c can be made.
    rng = np.random.default_rng(1)
    a, b, d = rng.normal(size=(3, 500))
    x = np.column_stack([a, b, a + b, d + a])
    correlation = np.corrcoef(x.T)
    starts, rows = np.arange(5) * 3, np.full(4, 3)
    columns = np.array([j for i in range(4) for j in range(4) if j != i])
    best, sets = np.full(12, np.inf), np.full((12, 2), -1)
    weakest_links(correlation, starts, columns, rows, 2, 0, 4, best, sets)
    # With two of a, b, c in the set, the third is an end and determined.
    answered = np.isfinite(best)
    assert answered.any() and not answered.all()
    assert all(len({0, 1, 2} & set(given)) < 2 for given in sets[answered].tolist())


def test_unanswerable_questions_have_no_p_value():
    assert log_p_of_z(fisher_z(np.array([np.inf, 0.0]), 5)).tolist() == [-np.inf, 0.0]
    assert log_p_of_z(fisher_z(np.array([0.2]), 0)).tolist() == [-np.inf]


def test_unshielded_triples_by_brute_force():
    rng = np.random.default_rng(2)
    adjacent = np.triu(rng.random((9, 9)) < 0.4, 1)
    adjacent |= adjacent.T
    wanted = [
        (a, b, c)
        for a in range(9)
        for b in range(9)
        for c in range(a + 1, 9)
        if adjacent[a, b] and adjacent[b, c] and not adjacent[a, c]
    ]
    assert unshielded_triples(adjacent).tolist() == [list(t) for t in wanted]


def test_importing_the_package_loads_no_compiler():
    code = "import sys, workbench, workbench.graph.discovery.pc; assert 'numba' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
