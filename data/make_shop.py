"""Makes the files of a simulated web shop: shop_metrics.parquet, shop_changes.csv and
../graphs/shop_services.json. Run: python data/make_shop.py

Eleven services, four metrics each (requests per second, latency in ms, errors in percent of the
requests, cpu in percent), one row per minute from 00:00 to 21:15 UTC on 2026-03-01. Law: who is
called more uses more cpu; a busy cpu makes slow; a slow or failing callee makes its caller slow or
failing. Three incidents:

* 14:29 to 14:44: a runaway job takes the cpu of `payment`; checkout and frontend get slow.
* 18:01 to 18:18: release 2.14 of `cart`, deployed at 17:58, fails a tenth of its requests.
* 20:41 to 20:56: `checkout` waits for a lock of its own; nothing that is recorded explains it.
"""

import json
from pathlib import Path

import numpy as np
import pandas as pd

CALLS = {  # caller -> callee -> calls per request
    "frontend": {"checkout": 0.3, "catalog": 1.0, "search": 0.5},
    "search": {"catalog": 0.6},
    "checkout": {"cart": 1.0, "payment": 0.8, "shipping": 0.7},
    "cart": {"redis": 1.5},
    "catalog": {"database": 0.8},
    "payment": {"bank": 1.0, "fraud": 1.0},
    "shipping": {"database": 1.0},
}
OWN_MS = {
    "frontend": 20,
    "search": 35,
    "checkout": 25,
    "cart": 12,
    "catalog": 18,
    "payment": 40,
    "shipping": 15,
    "redis": 2,
    "database": 9,
    "bank": 110,
    "fraud": 30,
}
CHANGES = [
    ("2026-03-01T09:12:00Z", "catalog", "deploy catalog 5.3"),
    ("2026-03-01T14:05:00Z", "search", "config: result cache 5 min"),
    ("2026-03-01T17:58:00Z", "cart", "deploy cart 2.14"),
    ("2026-03-01T18:00:00Z", "search", "config: result cache 10 min"),
    ("2026-03-01T20:10:00Z", "catalog", "flag new-photos on"),
]


def shop(seed: int = 7) -> pd.DataFrame:
    r = np.random.default_rng(seed)
    times = pd.date_range("2026-03-01", "2026-03-01T21:15", freq="min", tz="UTC", name="time")
    n = len(times)

    def within(start: str, end: str, size: float) -> np.ndarray:
        inside = (times >= f"2026-03-01T{start}Z") & (times <= f"2026-03-01T{end}Z")
        return np.where(inside, size * r.normal(1.0, 0.06, n), 0.0)

    def drift(size: float, memory: float = 0.7) -> np.ndarray:
        noise = r.normal(size=n) * size * (1 - memory**2) ** 0.5
        out = np.empty(n)
        out[0] = noise[0]
        for t in range(1, n):
            out[t] = memory * out[t - 1] + noise[t]
        return out

    hour = np.arange(n) / 60
    requests, cpu, latency, errors = {}, {}, {}, {}
    requests["frontend"] = 90 + 25 * np.sin((hour - 8) / 24 * 2 * np.pi) + drift(6)
    for caller, callees in CALLS.items():  # callers come before their callees
        for callee, share in callees.items():
            more = share * requests[caller] * r.normal(1, 0.02, n)
            requests[callee] = requests.get(callee, 0.0) + more
    for service, own_ms in reversed(OWN_MS.items()):  # callees come before their callers
        load = requests[service] / requests[service].mean()
        cpu[service] = 12 + 25 * load + drift(2.0)
        slow, fail = 0.0, 0.25 + 0.08 * np.abs(drift(1.0))
        if service == "payment":
            cpu[service] = np.minimum(cpu[service] + within("14:29", "14:44", 52.0), 99.5)
        if service == "checkout":
            slow = within("20:41", "20:56", 160.0)
        if service == "cart":
            fail = fail + within("18:01", "18:18", 9.5)
        latency[service] = own_ms * (0.4 + 0.016 * cpu[service] * r.normal(1, 0.05, n)) + slow
        if service == "payment":
            latency[service] += 6.0 * np.maximum(cpu[service] - 70, 0)
        errors[service] = fail
        for callee, share in CALLS.get(service, {}).items():
            weight = min(share, 1.0)
            latency[service] = latency[service] + weight * latency[callee]
            errors[service] = errors[service] + weight * errors[callee]
    columns = {}
    for service in OWN_MS:
        columns[f"{service}|requests_per_second"] = requests[service].round(2)
        columns[f"{service}|latency_ms"] = latency[service].round(1)
        columns[f"{service}|errors_percent"] = errors[service].round(3)
        columns[f"{service}|cpu_percent"] = cpu[service].round(1)
    return pd.DataFrame(columns, index=times).reset_index()


def jaeger(frame: pd.DataFrame) -> dict:
    calls = [
        {
            "parent": caller,
            "child": callee,
            "callCount": int(60 * share * frame[f"{caller}|requests_per_second"].sum()),
        }
        for caller, callees in CALLS.items()
        for callee, share in callees.items()
    ]
    return {"data": calls, "total": len(calls), "limit": 0, "offset": 0, "errors": None}


if __name__ == "__main__":
    here = Path(__file__).parent
    frame = shop()
    frame.to_parquet(here / "shop_metrics.parquet", index=False, compression="zstd")
    changes = pd.DataFrame(CHANGES, columns=["time", "service", "what"])
    changes.to_csv(here / "shop_changes.csv", index=False, lineterminator="\n")
    graphs = here.parent / "graphs"
    graphs.mkdir(exist_ok=True)
    text = json.dumps(jaeger(frame), indent=1)
    (graphs / "shop_services.json").write_text(text + "\n")
