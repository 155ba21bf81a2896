import numpy as np
import pandas as pd
import pytest

from workbench import CausalGraph
from workbench.diagnosis import System


class Shop:
    """A linear shop: cache -> db -> cart -> web, users -> cart, users -> web, noise N(0, 1)."""

    edges = [("cache", "db"), ("db", "cart"), ("cart", "web"), ("users", "cart"), ("users", "web")]
    nodes = ["cache", "db", "users", "cart", "web"]

    def graph(self):
        return CausalGraph(self.nodes, self.edges)

    def rows(self, n, seed=0, **shift):
        rng = np.random.default_rng(seed)
        e = {k: rng.normal(size=n) + shift.get(k, 0.0) for k in self.nodes}
        cache = 20 + e["cache"]
        db = 5 + 0.8 * (cache - 20) + e["db"]
        users = 100 + 10 * e["users"]
        cart = 30 + 1.5 * (db - 5) + 0.05 * (users - 100) + e["cart"]
        web = 80 + 2 * (cart - 30) + 0.1 * (users - 100) + e["web"]
        return pd.DataFrame({"web": web, "cart": cart, "db": db, "users": users, "cache": cache})


@pytest.fixture
def shop():
    return Shop()


@pytest.fixture
def system(shop):
    return System(shop.graph(), shop.rows(500))
