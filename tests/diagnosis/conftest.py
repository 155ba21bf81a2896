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


class Cluster:
    """Eight services that call each other, four metrics each, one row per minute."""

    calls = [
        ("web", "checkout"),
        ("web", "catalog"),
        ("checkout", "cart"),
        ("checkout", "payment"),
        ("cart", "redis"),
        ("catalog", "db"),
        ("payment", "bank"),
        ("cart", "db"),
    ]
    services = ["web", "checkout", "catalog", "cart", "payment", "redis", "db", "bank"]
    start = pd.Timestamp("2026-03-01", tz="UTC")

    def rows(self, n=600, fault=None, size=0.0, begin=560, end=575, seed=0):
        """A wide table; ``fault`` is ``"service kind"``, kind cpu, latency or errors."""
        r = np.random.default_rng(seed)
        service, kind = fault.split() if fault else ("", "")
        inside = np.zeros(n)
        inside[begin:end] = size * r.normal(1, 0.05, end - begin)
        load, cpu, latency, errors = {}, {}, {}, {}
        for s in self.services:
            above = [load[u] for u, v in self.calls if v == s]
            load[s] = sum(above) * 0.7 if above else 100 + 8 * r.normal(size=n)
            load[s] = load[s] * r.normal(1, 0.03, n)
        for s in reversed(self.services):
            below = [v for u, v in self.calls if u == s]
            cpu[s] = 10 + 20 * load[s] / load[s].mean() + r.normal(0, 1.5, n)
            cpu[s] = cpu[s] + inside * (service == s and kind == "cpu")
            latency[s] = (
                5 + 0.3 * cpu[s] + r.normal(0, 0.5, n) + sum(0.8 * latency[c] for c in below)
            )
            latency[s] = latency[s] + inside * (service == s and kind == "latency")
            errors[s] = 0.3 + 0.05 * r.normal(size=n) + sum(0.7 * errors[c] for c in below)
            errors[s] = errors[s] + inside * (service == s and kind == "errors")
        times = pd.date_range(self.start, periods=n, freq="min", name="time")
        columns = {}
        for s in self.services:
            columns[f"{s} requests"] = load[s]
            columns[f"{s} cpu_percent"] = cpu[s]
            columns[f"{s} latency_ms"] = latency[s]
            columns[f"{s} errors_percent"] = errors[s]
        return pd.DataFrame(columns, index=times)

    def at(self, row):
        return self.start + pd.Timedelta(minutes=row)


@pytest.fixture
def cluster():
    return Cluster()
