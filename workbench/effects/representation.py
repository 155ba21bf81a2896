"""Networks with one representation and a head per arm: TARNet, CFRNet, DragonNet."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..core.saving import saveable
from ..core.seeding import Seed
from ..nets.batches import Batch
from ..nets.layers import MultiHead
from .backbone import RepresentationNet, outcome_loss
from .balance_distance import Kernel, arm_distance
from .folded import FoldedRows
from .network_learner import NetworkLearner, Objective

_LEAST_CHANCE = 0.02


@saveable
class TARNet(NetworkLearner):
    """Treatment-agnostic representation: mu_t(x) = head_t(phi(x)), trained on observed outcomes.

    Minimises mean (y - mu_t(x))^2 (log-loss for a binary outcome) over the rows of all arms, one
    head per arm on a common representation. Inputs are gated and the representation may be
    narrow; its width is chosen by the error on held-out rows. Prefer
    :class:`CausalStack` if you don't want to choose, trees where outcomes jump.

    Args:
        hidden: Widths of hidden layers before the representation.
        phi_dim: Width of the representation, or several to choose from.
        heads: Widths of the hidden layers of each head.
        gate_penalty: L1 penalty on the gates of the inputs, in units of the outcome's variance.
        weight_decay: Decoupled decay of weight matrices (AdamW).
        arm_balance: Whether all arms weigh alike, whatever their sizes.
        n_folds: Networks, each stopped on the fold it leaves out.
        epochs: Passes over the rows; None makes 200 steps of all rows, or up to 500 of batches.
        batch_size: Rows per step; None takes all rows up to 4,000, 1,000 beyond.
        learning_rate: Largest step of Adam; it rises and falls over the training.
        patience: Stop after so many epochs without improvement on held-out rows.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ...
        progress: Show a bar if training takes longer than two seconds.
        random_state: Seed of folds, weights and batches.

    Attributes:
        history_: Losses of the networks kept; phi_dim_: the width chosen.

    References:
        Shalit, Johansson and Sontag, "Estimating individual treatment effect: generalization
        bounds and algorithms", ICML 2017.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(400, 3))
        >>> t = rng.integers(0, 2, 400)
        >>> y = np.exp(x[:, 0] / 2) + t * x[:, 1] + rng.normal(size=400) / 5
        >>> net = TARNet(n_folds=3, progress=False).fit(y, t, X=x)
        >>> bool(abs(net.effect() - x[:, 1]).mean() < 0.15)
        True
    """


@saveable
class CFRNet(NetworkLearner):
    """Counterfactual regression: TARNet whose representation looks alike in all arms.

    Adds ``balance * MMD^2(phi | t = k, phi | t = 0)`` to the loss of :class:`TARNet`. It trades
    what phi knows about the outcome against overlap: use it where arms hardly overlap; where
    confounders drive both treatment and effect, balance hides what is needed (prefer TARNet).

    Args:
        balance: Weight of the distance between arms.
        kernel: ``"linear"`` compares means; ``"rbf"`` whole distributions (median bandwidth), at
            three times the cost.
        hidden, phi_dim, heads, gate_penalty, weight_decay, arm_balance, n_folds, epochs,
            batch_size, learning_rate, patience, device, progress, random_state: As for
            :class:`TARNet`.

    References:
        Shalit, Johansson and Sontag, "Estimating individual treatment effect: generalization
        bounds and algorithms", ICML 2017.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 2))
        >>> t = (x[:, 0] + rng.normal(size=300) > 0).astype(int)
        >>> y = x[:, 0] + t + rng.normal(size=300) / 5
        >>> net = CFRNet(phi_dim=2, n_folds=3, progress=False).fit(y, t, X=x)
        >>> bool(abs(net.ate() - 1) < 0.2)
        True
    """

    def __init__(
        self,
        balance: float = 0.1,
        kernel: Kernel = "linear",
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
        self.balance = balance
        self.kernel = kernel
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

    def _objective(self, rows: FoldedRows) -> Objective:
        def loss(net: RepresentationNet, batch: Batch) -> Tensor:
            phi = net.represent(batch.x)
            own = MultiHead.received(net.outcome(phi), batch.arm)
            fit = batch.mean(outcome_loss(own, batch.y, rows.binary))
            if not batch.training:
                return fit
            gap = arm_distance(phi, batch.arm, batch.weight, rows.n_arms, self.kernel)
            return fit + self.balance * gap

        return loss


@saveable
class DragonNet(NetworkLearner):
    """TARNet whose representation also predicts the treatment.

    Adds ``propensity_weight`` times the cross-entropy of P(t | phi(x)) to the loss of
    :class:`TARNet`, so that phi keeps what confounds. With ``targeted_weight`` the loss also has
    (y - mu_t(x) - sum_k eps_k h_k)^2, h_k = 1{t=k} / P(k|x) - 1{t=0} / P(0|x): targeted
    regularisation, which makes the networks' own average effect doubly robust. :meth:`ate` is
    doubly robust with or without it.

    Args:
        propensity_weight: Weight of the cross-entropy.
        targeted_weight: Weight of the targeted regularisation.
        hidden, phi_dim, heads, gate_penalty, weight_decay, arm_balance, n_folds, epochs,
            batch_size, learning_rate, patience, device, progress, random_state: As for
            :class:`TARNet`.

    References:
        Shi, Blei and Veitch, "Adapting neural networks for the estimation of treatment effects",
        NeurIPS 2019.

    Example:
        >>> import numpy as np
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(300, 2))
        >>> t = (x[:, 0] + rng.normal(size=300) > 0).astype(int)
        >>> y = x[:, 0] + t + rng.normal(size=300) / 5
        >>> net = DragonNet(phi_dim=2, n_folds=3, progress=False).fit(y, t, X=x)
        >>> bool(abs(net.ate() - 1) < 0.2)
        True
    """

    _propensity = True

    def __init__(
        self,
        propensity_weight: float = 0.1,
        targeted_weight: float = 0.0,
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
        self.propensity_weight = propensity_weight
        self.targeted_weight = targeted_weight
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

    def _objective(self, rows: FoldedRows) -> Objective:
        def loss(net: RepresentationNet, batch: Batch) -> Tensor:
            phi = net.represent(batch.x)
            own = MultiHead.received(net.outcome(phi), batch.arm)
            fit = batch.mean(outcome_loss(own, batch.y, rows.binary))
            if not batch.training:
                return fit
            log_chance = F.log_softmax(net.arm(phi), dim=-1)
            surprise = -MultiHead.received(log_chance, batch.arm)
            fit = fit + self.propensity_weight * batch.mean(surprise)
            if self.targeted_weight:
                moved = own + _clever(log_chance.exp(), batch.arm, net.tilt)
                gap = batch.mean(outcome_loss(moved, batch.y, rows.binary))
                fit = fit + self.targeted_weight * gap
            return fit

        return loss


def _clever(chance: Tensor, arm: Tensor, tilt: Tensor) -> Tensor:
    """sum_k eps_k (1{t=k} / P(k|x) - 1{t=0} / P(0|x)), (M, b)."""
    pull = torch.cat([-tilt.sum(1, keepdim=True), tilt], 1)[:, None]
    return MultiHead.received(pull / chance.clamp(min=_LEAST_CHANCE), arm)
