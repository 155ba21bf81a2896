"""PairNet: a network trained on differences between observed outcomes of near units."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np

from ..core.errors import ParameterError, warn
from ..core.saving import saveable
from ..core.seeding import Seed, spawn
from .folded import FoldedRows
from .network_learner import NetworkLearner, NetworkModels, Objective, standardised
from .pair_loss import PairLoss
from .pairs import Pairing, Pairs, draw_pairs, joined

_CHUNK = 20_000


@saveable
class PairNet(NetworkLearner):
    """A network trained on pairs of observed units of different arms that are near each other.

    With residuals r = y - mu_t(x) it minimises

        factual_weight * mean r_i^2 + pair_weight * mean over pairs (r_i - r_j)^2,

    where row i is paired with partners j of another arm that are near in a frozen embedding. In
    the second term what the network gets wrong for both members of a pair alike cancels, so that
    it weighs errors of the effect more than errors of the level. For a binary outcome it is
    -log P(y_i - y_j), where y_i - y_j is -1, 0 or 1 with the probabilities of two independent
    draws. Alone it leaves the level of all outcomes open: it is set afterwards, by one constant.

    ``pair_weight=0`` is the control: the same networks, seeds, weights of arms and stopping
    without pairs. Compare the two before crediting the pairs; on a backbone whose width and
    inputs are well chosen (the default) they rarely pay. Prefer :class:`TARNet` then, and
    :class:`CausalStack` if you don't want to choose.

    Args:
        pair_weight: Weight of the pairs.
        factual_weight: Weight of the outcomes themselves.
        pairing: ``"softmax"`` draws partners with probability proportional to exp(-distance / T),
            ``"knn"`` takes the nearest, ``"random"`` any.
        psi: Embedding in which near is meant: ``"factual"`` (the representation of a network
            trained on outcomes alone), ``"raw"`` (standardised covariates), ``"propensity"``
            (log-odds of the arms), or an array with a row for each row of Y.
        num_pairs: Partners of each row.
        temperature: T, in units of the embedding; ``"auto"`` is the median distance to the
            nearest row of another arm.
        drop_frac: Share of pairs, the farthest, that are never drawn.
        hidden, phi_dim, heads, gate_penalty, weight_decay, arm_balance, n_folds, epochs,
            batch_size, learning_rate, patience, device, progress, random_state: As for
            :class:`TARNet`.

    Attributes:
        pairs_: The :class:`~workbench.effects.pairs.Pairs` of each network, as a list.
        history_, phi_dim_: As for :class:`TARNet`.

    References:
        Nagalapatti, Singhal, Ghosh and Sarawagi, "PairNet: training with observed pairs to
        estimate individual treatment effect", ICML 2024.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 3))
        >>> t = rng.integers(0, 2, 400)
        >>> y = np.exp(x[:, 0] / 2) + t * x[:, 1] + rng.normal(size=400) / 5
        >>> net = PairNet(n_folds=3, progress=False).fit(y, t, X=x)
        >>> bool(abs(net.effect() - x[:, 1]).mean() < 0.2)
        True
        >>> net.pairs_[0].partner.shape
        (400, 10)
    """

    def __init__(
        self,
        pair_weight: float = 0.1,
        factual_weight: float = 1.0,
        pairing: Pairing = "softmax",
        psi: Literal["factual", "raw", "propensity"] | np.ndarray = "factual",
        num_pairs: int = 10,
        temperature: float | Literal["auto"] = "auto",
        drop_frac: float = 0.1,
        hidden: Sequence[int] = (),
        phi_dim: int | Sequence[int] = (1, 2, 4),
        heads: Sequence[int] = (32, 32),
        gate_penalty: float = 0.01,
        weight_decay: float = 0.1,
        arm_balance: bool = False,
        n_folds: int = 5,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float = 0.02,
        patience: int | None = 40,
        device: str = "auto",
        progress: bool = True,
        random_state: Seed = 0,
    ):
        self.pair_weight = pair_weight
        self.factual_weight = factual_weight
        self.pairing = pairing
        self.psi = psi
        self.num_pairs = num_pairs
        self.temperature = temperature
        self.drop_frac = drop_frac
        super().__init__(
            hidden=hidden,
            phi_dim=phi_dim,
            heads=heads,
            gate_penalty=gate_penalty,
            weight_decay=weight_decay,
            arm_balance=arm_balance,
            n_folds=n_folds,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            patience=patience,
            device=device,
            progress=progress,
            random_state=random_state,
        )

    def embedding(self, X: Any = None) -> np.ndarray:
        """The learned representation of each row of X (None: the rows fitted), (F, m, d).

        One for each of the F networks: their units have no common meaning.
        """
        return self.models_.represent(self._encoded(self._modifiers(X)))

    # ---- fitting

    def _fit_folds(self, rows: FoldedRows, seed: np.random.SeedSequence) -> NetworkModels:
        self._check()
        sort = np.argsort(rows.order, kind="stable")
        given = self._given_embedding(len(rows.y))
        rows = rows.arranged()
        self.pairs_ = []
        if not self.pair_weight:
            return super()._fit_folds(rows, seed)
        trial, final, drawing = spawn(seed, 3)  # the first two as for the control
        widths = self._widths()
        self.phi_dim_, factual = widths[0], None
        if len(widths) > 1 or isinstance(self.psi, str) and self.psi == "factual":
            self.phi_dim_, factual = self._try_widths(rows, widths, trial)
        found = self._draw(rows, self._psi(rows, factual, given, sort), drawing)
        self.pairs_ = [p.renumbered(sort) for p in found]
        partner = np.stack([p.partner for p in found])
        models = self._fit_width(rows, final, self._pair_objective(rows), {"partner": partner})
        return replace(models, level=self._level(rows, models))

    def _check(self) -> None:
        for name in ("pair_weight", "factual_weight"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 <= value < np.inf):
                raise ParameterError("must be a number from 0", column=name, value=value)
        if not self.pair_weight and not self.factual_weight:
            raise ParameterError("must not be 0 where pair_weight is", column="factual_weight")
        if not isinstance(self.num_pairs, int) or self.num_pairs < 1:
            raise ParameterError(
                "must be a positive integer", column="num_pairs", value=self.num_pairs
            )
        if not 0 <= self.drop_frac < 1:
            raise ParameterError(
                "must be at least 0 and below 1", column="drop_frac", value=self.drop_frac
            )
        is_number = isinstance(self.temperature, int | float) and self.temperature > 0
        if self.temperature != "auto" and not is_number:
            raise ParameterError(
                "must be 'auto' or a positive distance",
                column="temperature",
                value=self.temperature,
            )
        if self.pairing not in ("softmax", "knn", "random"):
            raise ParameterError(
                "must be 'softmax', 'knn' or 'random'", column="pairing", value=self.pairing
            )

    def _given_embedding(self, n: int) -> np.ndarray | None:
        """``psi`` as a matrix, if it is one."""
        if isinstance(self.psi, str):
            if self.psi not in ("factual", "raw", "propensity"):
                raise ParameterError(
                    "must be 'factual', 'raw', 'propensity' or an array",
                    column="psi",
                    value=self.psi,
                )
            return None
        psi = np.asarray(self.psi, dtype=float)
        psi = psi[:, None] if psi.ndim == 1 else psi
        if psi.ndim != 2 or len(psi) != n or not np.isfinite(psi).all():
            raise ParameterError(
                f"has shape {psi.shape}; it needs a finite row for each of the {n} rows fitted",
                column="psi",
                advice="Leave out the rows of weight 0.",
            )
        return psi

    def _psi(
        self,
        rows: FoldedRows,
        factual: NetworkModels | None,
        given: np.ndarray | None,
        sort: np.ndarray,
    ) -> np.ndarray:
        """The embedding for each network, (F, n, d)."""
        if given is not None:
            common = given[sort]
        elif self.psi == "factual":
            return np.concatenate(
                [factual.represent(z) for z in np.array_split(rows.z, -(-len(rows.z) // _CHUNK))],
                axis=1,
            )
        elif self.psi == "raw":
            common = standardised(rows.z)
        else:
            common = np.log(rows.chance[:, 1:] / rows.chance[:, :1])
        return np.broadcast_to(common, (rows.n_folds, *common.shape))

    def _draw(self, rows: FoldedRows, psi: np.ndarray, seed: np.random.SeedSequence) -> list[Pairs]:
        """Pairs of each network, drawn within its training rows and within its held-out rows."""
        found = []
        for f, own in enumerate(spawn(seed, rows.n_folds)):
            parts = [
                (
                    at := np.flatnonzero(inside),
                    draw_pairs(
                        psi[f, at],
                        rows.arm[at],
                        rows.n_arms,
                        weight=rows.weight[at],
                        pairing=self.pairing,
                        num_pairs=self.num_pairs,
                        temperature=self.temperature,
                        drop_frac=self.drop_frac,
                        random_state=part,
                    ),
                )
                for inside, part in zip(
                    (rows.fold != f, rows.fold == f), spawn(own, 2), strict=True
                )
            ]
            found.append(joined(parts, len(rows.y)))
        alone = int(sum(p.fallback.sum() for p in found))
        if alone:
            warn(
                "pairs",
                f"in {alone} of {len(found) * len(rows.y)} cases all candidates of a row lay "
                f"among the farthest {self.drop_frac:.0%} of pairs; it was paired with its "
                "nearest one, which is far",
            )
        return found

    def _pair_objective(self, rows: FoldedRows) -> Objective:
        return PairLoss(
            x=standardised(rows.z),
            y=rows.y,
            arm=rows.arm,
            binary=rows.binary,
            pair_weight=self.pair_weight,
            factual_weight=self.factual_weight,
            whole=self._batch_size(len(rows.y)) is None,
        )

    def _level(self, rows: FoldedRows, models: NetworkModels) -> np.ndarray:
        """Mean residual of each network over the rows that it learned from, (F,)."""
        rest = rows.y - models.outcomes(rows.z)[:, np.arange(len(rows.y)), rows.arm]
        weight = rows.weight * (rows.fold != np.arange(rows.n_folds)[:, None])
        return (rest * weight).sum(axis=1) / weight.sum(axis=1)
