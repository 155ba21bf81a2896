"""What happened in a training: losses by epoch and member, the epoch kept, and why it ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..core.results import Result, number
from ..core.saving import saveable

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes


@saveable
@dataclass(frozen=True, repr=False, eq=False)
class History(Result):
    """Losses of a training.

    Attributes:
        training: Mean training loss, (epochs, M); NaN after a member has stopped.
        validation: Validation loss, (epochs, M), or None without validation rows.
        best_epoch: The epoch (from 1) whose weights the member keeps, (M,).
        stopped: ``"patience"`` or ``"epochs"`` for each member.
        seconds: Wall-clock time.
    """

    training: np.ndarray
    validation: np.ndarray | None
    best_epoch: np.ndarray
    stopped: tuple[str, ...]
    seconds: float

    @property
    def best_loss(self) -> np.ndarray:
        """The loss (validation if there is one, else training) at the epoch kept, (M,)."""
        losses = self.training if self.validation is None else self.validation
        return losses[self.best_epoch - 1, np.arange(len(self.best_epoch))]

    def summary(self) -> str:
        kind = "training" if self.validation is None else "validation"
        best = self.best_epoch
        return (
            f"{len(best)} member{'s' * (len(best) > 1)} trained in {number(self.seconds)} s, "
            f"{len(self.training)} epochs; weights of epochs {best.min()} to {best.max()} kept, "
            f"mean {kind} loss {number(float(np.mean(self.best_loss)))}"
        )

    def verdict(self) -> str:
        late = int(np.sum((self.best_epoch == len(self.training)) & self._ran_out))
        if self.validation is None or not late:
            return ""
        return f"{late} of {len(self.stopped)} members were still improving: allow more epochs."

    @property
    def _ran_out(self) -> np.ndarray:
        return np.array([reason == "epochs" for reason in self.stopped])

    def to_frame(self, long: bool = False) -> pd.DataFrame:
        """One row per member; ``long=True``: one row per epoch and member."""
        import pandas as pd

        members = np.arange(len(self.stopped))
        if not long:
            return pd.DataFrame(
                {
                    "best_epoch": self.best_epoch,
                    "best_loss": self.best_loss,
                    "stopped": list(self.stopped),
                },
                index=pd.Index(members, name="member"),
            )
        epochs = len(self.training)
        frame = pd.DataFrame(
            {
                "epoch": np.repeat(np.arange(1, epochs + 1), len(members)),
                "member": np.tile(members, epochs),
                "training": self.training.ravel(),
            }
        )
        if self.validation is not None:
            frame["validation"] = self.validation.ravel()
        return frame.dropna(subset="training").reset_index(drop=True)

    def plot(self, ax: Axes | None = None) -> Axes:
        """Losses by epoch, one line per member; returns the Axes."""
        if ax is None:
            import matplotlib.pyplot as plt

            ax = plt.figure().subplots()
        epochs = np.arange(1, len(self.training) + 1)
        for color, name in (("C0", "training"), ("C1", "validation")):
            losses = getattr(self, name)
            if losses is not None:
                # One entry in the legend for all members.
                names = [name] + ["_"] * (losses.shape[1] - 1)
                ax.plot(epochs, losses, color=color, lw=0.8, label=names)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.legend()
        return ax
