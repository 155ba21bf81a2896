"""first version"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..core.saving import saveable
from .base import Diagnoser, Findings, leaders
from .incident import Case
from .scorers import Scorer
from .baseline import CONSTANT_SHARE

C = dict(kappa=1.0, b=0.2, q=2.0, tau=2.0, cover=1.0, proxy=0.9, corr=0.7, unit=True, alarm=True, contrast=True, own_boost=0.0)


@saveable
class BlameFlow(Diagnoser):
    def __init__(self, threshold=3.0, scorer: Scorer = "z"):
        self.threshold = threshold
        self.scorer = scorer

    def _answer(self, case):
        if case.trigger is None or not case.system.candidates(case.target):
            return super()._answer(case)
        f = self._rank(case)
        if not f.blamed.any():
            return "no root cause found", "nothing", f
        return "found", "", f

    def _rank(self, case: Case) -> Findings:
        system = case.system
        names = (*system.ancestors(case.target), case.target)
        at = np.array([system.position[m] for m in names])
        n = len(names)
        place = {m: i for i, m in enumerate(names)}
        mean = system.mean[at]; sd0 = system.sd[at]
        const = sd0 < 0.001 * np.abs(mean)
        const |= sd0 == 0
        sd = np.where(const, CONSTANT_SHARE * np.abs(mean), sd0)
        W = case.window[:, at]
        med = np.nanmedian(W, axis=0)
        W = np.where(np.isnan(W), med, W)
        k, quiet = self._steps(case, (W - mean) / np.where(sd > 0, sd, 1))
        x = W[k].copy()
        if C["contrast"] and len(W) >= 3 and quiet.any():
            x = mean + W[k] - np.median(W[quiet], axis=0)
        dev = x - mean
        flat = sd == 0
        sd = np.where(flat, np.where(dev != 0, np.abs(dev) / 10, 1.0), sd)
        z = dev / sd
        g = z**2 / (z**2 + C["tau"] ** 2)
        q = C["q"]
        Z = (W - mean) / sd
        prof = Z - Z.mean(axis=0)
        norm = np.sqrt((prof**2).sum(axis=0))
        B = np.zeros((n, n))
        own_resid = np.zeros(n)
        pa = [[place[p] for p in system.parents(m)] for m in names]
        for v, m in enumerate(names):
            p = pa[v]
            if not p:
                B[v, v] = 1.0
                continue
            mech = system.mechanism(m)
            slopes = mech.slopes.copy() if not const[v] else np.zeros(len(p))
            slopes[const[p]] = 0.0
            zp = z[p]
            s = 1.0 if z[v] >= 0 else -1.0
            e = s * (z[v] - slopes @ zp)
            pv = np.sqrt(mech.noise**2 * (1 + 1 / max(mech.n, 1)) + zp @ mech.spread @ zp) if not const[v] else 0.0
            D = s * slopes * zp
            b = np.where(const[p], 1.0, C["b"])
            U = C["kappa"] * np.abs(D) + b * np.maximum(np.abs(zp) - q, 0)
            if C["unit"]:
                same = np.array([system.schema[names[i]].unit is not None and system.schema[names[i]].unit == system.schema[m].unit for i in p])
                U = np.where(same & (np.abs(zp) > q), np.maximum(U, np.abs(dev[p]) / sd[v]), U)
            tot = U.sum()
            own = max(0.0, e - tot - q * pv)
            lift = min(1.0, max(0.0, e - q * pv) / tot) if tot > 0 and e > 0 else 0.0
            par = (np.maximum(D, 0) + lift * U) * g[p]
            if C["alarm"] and m == case.target and abs(z[v]) < 2:
                own = 0.0
                par = U * g[p]
            own_resid[v] = own
            T = own + par.sum()
            if T <= 0:
                B[v, v] = 1.0
                continue
            for i, w in zip(p, par, strict=True):
                B[v] += w / T * B[i]
            B[v, v] += own / T
        if C["proxy"]:
            self._proxy(B, z, g, pa, prof, norm, q)
        t = n - 1
        cov = (g[:t, None] * B[:t, :]).sum(axis=0)
        S = B[t] * g * cov ** C["cover"]
        S[t] = 0
        self.z_, self.B_, self.names_ = z, B, names
        return self._findings(case, names, S, B, z)

    def _steps(self, case, Z):
        a = np.abs(Z[:, -1])
        k = int(np.argmax(a))
        return k, a < 0.5 * a[k]

    def _proxy(self, B, z, g, pa, prof, norm, q):
        n = len(z)
        anc = np.eye(n, dtype=bool)
        for v in range(n):
            for p in pa[v]:
                anc[v] |= anc[p]
        for j in range(n - 1):
            if pa[j] or abs(z[j]) <= q or norm[j] == 0:
                continue
            best, who = C["corr"], None
            for v in range(n - 1):
                if not pa[v] or anc[v, j] or abs(z[v]) <= q or norm[v] == 0:
                    continue
                if not any(j in pa[c] and v in pa[c] for c in range(n)):
                    continue
                r = abs(prof[:, j] @ prof[:, v]) / (norm[j] * norm[v])
                if r >= best:
                    best, who = r, v
            if who is not None:
                share = C["proxy"] * g[who]
                B[:, who] += share * B[:, j]
                B[:, j] *= 1 - share

    def _findings(self, case, names, S, B, z):
        nodes = case.system.nodes
        score = np.full(len(nodes), np.nan)
        blamed = np.zeros(len(nodes), bool)
        place = {x: i for i, x in enumerate(nodes)}
        for i, m in enumerate(names[:-1]):
            j = place[case.system.node_of[m]]
            score[j] = S[i]
            blamed[j] = S[i] > 0 and B[-1, i] >= 0.01
        return Findings(score, blamed, [""] * len(nodes))
