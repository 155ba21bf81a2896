"""What the released GenRe does, faults included: to compare with, not to use.

* Bins are their left edges: no number ends at the top of its range, and nearly all others move by
  up to a bin, so that integers end at fractions.
* One output layer serves all features; levels are numbers, rounded after the last one is written.
* What can't change is kept by the pairs alone: the network has to learn to copy it.
* People with a score up to .7 are learned from whatever their label, and the network reads that
  label; when asked, everybody is said to have the favourable one.
* Of ten samples the one that the model likes best is returned, whatever it costs.
* Rows are not shuffled, and the network of the last epoch is kept: the tenth of sources and of
  targets that is set aside for validation decides nothing.

Smaller than the release, which has 16 + 16 layers of 8 heads and trains them for 2,000 epochs,
hours per table on a core: here 2 + 2 layers of 4 heads take the epochs below. On HELOC that gives
what its authors printed (cost 2.00 for 2.01, score 1.90 for 1.90). On COMPAS the draw of the
labels and the seed decide: validity lay between .83 and 1.00 (printed: .99), cost between .44 and
.86 (.51). Adult's epochs are set by the time they take and by nothing else.
"""

from __future__ import annotations

import pandas as pd
import torch
from torch import Tensor, nn

from ._recourse import Draw, Tables, scores

_LAM, _GAMMA, _TOP, _BINS = 5.0, 0.7, 1000, 50
_WIDTH, _LAYERS, _HEADS, _HIDDEN, _DROPOUT = 32, 2, 4, 64, 0.1
_RATE, _HELD = 2e-3, 0.1
_INVERSE_TEMPERATURE, _SAMPLES = 10.0, 10
_CHUNK = 500  # people at once
# Released: batches of 2,048, of Adult 16,384, and a rate of 1e-4.
_BATCH = 256
_EPOCHS = {"COMPAS": 60, "HELOC clean": 35, "HELOC published": 35, "Adult": 15}


class ReleasedGenRe:
    """The released generator, trained on one draw of labels.

    Args:
        epochs: Passes over the sources; those of the data set by default.
        random_state: Seed.
    """

    def __init__(self, epochs: int | None = None, random_state: int = 0):
        self.epochs, self.random_state = epochs, random_state

    def fit(self, draw: Draw) -> ReleasedGenRe:
        """Learn from training rows, their drawn labels and the predictor."""
        self.draw = draw
        epochs = _EPOCHS[draw.data.name] if self.epochs is None else self.epochs
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state)
            sources, targets = self._split()
            fixed = [not f.actionable for f in draw.data.schema]
            partners = _partners(sources[:, 1:], targets, fixed, epochs)
            self.net = _trained(sources, targets, partners)
        return self

    def _split(self) -> tuple[Tensor, Tensor]:
        """Nine tenths of the sources, their label first, and of the targets."""
        data, y = self.draw.data, self.draw.y
        h = scores(self.draw.model, data.train)
        x = torch.from_numpy(data.scaled(data.train)).float()
        tokens = torch.cat([torch.from_numpy(2.0 * y - 1).float()[:, None], x], 1)
        parts = tokens[h <= _GAMMA], x[(h > _GAMMA) & (y == 1)]
        kept = [p[torch.randperm(len(p))[round(_HELD * len(p)) :]] for p in parts]
        return kept[0], kept[1]

    @torch.no_grad()
    def recommend(self, people: pd.DataFrame) -> pd.DataFrame:
        """End points of people, in the units of their columns; nobody is left without."""
        x = torch.from_numpy(self.draw.data.scaled(people)).float()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.random_state + 1)
            ends = torch.cat([self._best(part) for part in x.split(_CHUNK)])
        return _unscaled(self.draw.data, ends).set_index(people.index)

    def _best(self, x: Tensor) -> Tensor:
        drawn = _samples(self.net, x).flatten(0, 1)
        levels = torch.from_numpy(self.draw.data.levels)
        drawn = torch.where(levels, drawn.round(), drawn)
        h = torch.from_numpy(scores(self.draw.model, _unscaled(self.draw.data, drawn)))
        best = h.view(len(x), _SAMPLES).argmax(1)
        return drawn.view(len(x), _SAMPLES, -1)[torch.arange(len(x)), best]


def _unscaled(data: Tables, ends: Tensor) -> pd.DataFrame:
    return pd.DataFrame(data.low + data.reach * ends.double().numpy(), columns=data.train.columns)


def _partners(x: Tensor, targets: Tensor, fixed: list[bool], draws: int) -> Tensor:
    """For each source one target per epoch, ``(n, draws)``: near ones are likelier.

    A source that shares what can't change with no target stops the release too.
    """
    out, top = [], min(_TOP, len(targets))
    for part in x.split(_CHUNK):
        weight = torch.exp(-_LAM * torch.cdist(part, targets, p=1))
        weight *= (part[:, None, fixed] == targets[None, :, fixed]).all(-1)
        weight, nearest = weight.topk(top)
        out.append(nearest.gather(1, torch.multinomial(weight, draws, replacement=True)))
    return torch.cat(out)


class _Net(nn.Module):
    """Reads the label and the features of a person, writes one feature after the other."""

    def __init__(self, features: int):
        super().__init__()
        self.values = nn.ModuleList(
            nn.Sequential(nn.Linear(1, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH))
            for _ in range(features + 1)
        )
        self.body = nn.Transformer(
            _WIDTH, _HEADS, _LAYERS, _LAYERS, _HIDDEN, _DROPOUT, batch_first=True
        )
        self.head = nn.Linear(_WIDTH, _BINS)
        for weights in self.parameters():
            if weights.dim() > 1:
                nn.init.xavier_uniform_(weights)
        self.place = nn.Parameter(0.02 * torch.randn(features + 1, _WIDTH))
        self.drop = nn.Dropout(_DROPOUT)

    def read(self, tokens: Tensor) -> Tensor:
        """States ``(n, L, E)`` of the first L tokens, of people and of what they become alike."""
        length = tokens.shape[1]
        states = [self.values[j](tokens[:, j, None]) for j in range(length)]
        return self.drop(torch.stack(states, 1) + self.place[:length])

    def encode(self, tokens: Tensor) -> Tensor:
        return self.body.encoder(self.read(tokens))

    def decode(self, memory: Tensor, tokens: Tensor) -> Tensor:
        """Logits of the feature after each token, ``(n, L, bins)``."""
        later = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        states = self.body.decoder(self.read(tokens), memory, tgt_mask=later, tgt_is_causal=True)
        return self.head(states)


def _kernel(values: Tensor) -> Tensor:
    """Soft targets: a Gaussian one bin wide around each value, normalised over the bins."""
    bins = torch.arange(_BINS) / _BINS
    return torch.softmax(-0.5 * (_BINS * (values[..., None] - bins)) ** 2, -1)


def _trained(sources: Tensor, targets: Tensor, partners: Tensor) -> _Net:
    net = _Net(targets.shape[1])
    adam = torch.optim.Adam(net.parameters(), lr=_RATE)
    for partner in partners.T:
        for rows, chosen in zip(sources.split(_BATCH), partner.split(_BATCH), strict=True):
            ends = targets[chosen]
            adam.zero_grad()
            logits = net.decode(net.encode(rows), _labelled(ends)[:, :-1])
            loss = -(_kernel(ends) * logits.log_softmax(-1)).sum((1, 2)).mean()
            loss.backward()
            adam.step()
    return net.eval()


def _labelled(x: Tensor) -> Tensor:
    """Features behind the favourable label."""
    return torch.cat([torch.ones(len(x), 1), x], 1)


def _samples(net: _Net, x: Tensor) -> Tensor:
    """What people could become, ``(n, samples, d)``; each feature at a bin's left edge."""
    memory = net.encode(_labelled(x)).repeat_interleave(_SAMPLES, 0)
    tokens = torch.ones(len(memory), 1)
    for _ in range(x.shape[1]):
        logits = net.decode(memory, tokens)[:, -1]
        bins = torch.multinomial(torch.softmax(_INVERSE_TEMPERATURE * logits, -1), 1)
        tokens = torch.cat([tokens, bins / _BINS], 1)
    return tokens[:, 1:].view(len(x), _SAMPLES, -1)
