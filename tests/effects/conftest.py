"""Simulated tables with known effects."""

import numpy as np
import pandas as pd
import pytest


@pytest.fixture(scope="session", autouse=True)
def libraries():
    """Import what is slow to import once, outside the tests' own time."""
    import dowhy.causal_refuters  # noqa: F401
    import econml.dml
    import econml.dr  # noqa: F401
    import lightgbm  # noqa: F401
    import matplotlib

    matplotlib.use("Agg")


@pytest.fixture
def confounded():
    """A function (n, seed) -> table: effect of t 1 on y, of d 0.5 on yd; b confounds.

    ``z_t``, ``z_d``, ``z_arm`` are instruments: what was offered, and mostly taken.
    """

    def make(n=300, seed=0):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(n, 2))
        t = (rng.random(n) < 1 / (1 + np.exp(-0.7 * x[:, 0]))).astype(int)
        d = 0.7 * x[:, 0] + rng.normal(size=n)
        arm = np.array(["low", "mid", "top"])[rng.integers(0, 3, n)]
        noise = rng.normal(size=n)
        team = rng.choice(["red", "blue"], n)
        yb = (rng.random(n) < 0.3 + 0.3 * t).astype(int)
        other = np.random.default_rng([seed, 1])
        lift = pd.Series(arm).map({"low": 0.0, "mid": 1.0, "top": 3.0}).to_numpy()
        return pd.DataFrame(
            {
                "b": x[:, 0],
                "a": x[:, 1],
                "team": team,
                "t": t,
                "d": d,
                "arm": arm,
                "y": t + x[:, 0] + noise,
                "yd": 0.5 * d + x[:, 0] + noise,
                "ya": lift + x[:, 0] + noise,
                "yb": yb,
                "z_t": np.where(other.random(n) < 0.1, 1 - t, t),
                "z_d": d + 0.3 * other.normal(size=n),
                "z_arm": np.where(other.random(n) < 0.1, "low", arm),
            }
        )

    return make
