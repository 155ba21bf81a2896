"""The network of the generator: reads a person, writes what the person becomes, token by token."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..core.saving import saveable
from ..core.seeding import Seed, generator
from ..nets import BatchedLinear, BatchedModule, Dropout, LayerNorm
from ..nets.members import Seeds, member_seeds, split_seeds
from .genre_tokens import KEEP

_PER_LAYER = 6


@saveable
class PairTransformer(BatchedModule):
    """Encoder-decoder transformer over features, autoregressive in their order.

    The encoder sees the person (bin and place of every value), the decoder the tokens chosen so
    far. Position j's logits over tokens t are

        a_j · h_j + b_jt - s_j · lam · move_jt

    with the decoder's state h_j and the cost of each option by itself, so that "cheap is likely"
    is there from the start and what is learned is how common outcomes are and what goes with
    what. Layers are normalised at their inputs; heads share the width.

    Args:
        members: M, as everywhere in :mod:`workbench.nets`.
        features: F.
        tokens: T, of the feature with most.
        width: Size of a state; a multiple of ``heads``.
        layers: Of the encoder, and of the decoder.
        heads: Of every attention.
        lam: Weight of the cost.
        dropout: Share of states dropped while training.
        random_state: A seed, or one seed sequence per member.

    References:
        Vaswani et al., "Attention is all you need", NeurIPS 2017.
    """

    def __init__(
        self,
        members: int,
        features: int,
        tokens: int,
        width: int = 32,
        layers: int = 2,
        heads: int = 4,
        lam: float = 5.0,
        dropout: float = 0.1,
        random_state: Seed | Seeds = 0,
    ):
        super().__init__()
        self.features, self.tokens, self.width, self.layers = features, tokens, width, layers
        self.heads, self.lam, self.dropout = heads, lam, dropout
        seeds = split_seeds(member_seeds(random_state, members), 4 + 2 * layers)
        draws = [generator(seed) for seed in seeds[0]]

        def normal(*shape: int, scale: float) -> nn.Parameter:
            rows = [torch.from_numpy(rng.normal(scale=scale, size=shape)) for rng in draws]
            return nn.Parameter(torch.stack(rows).float())

        self.table = normal(features * tokens, width, scale=0.3)
        self.place = normal(features, width, scale=0.3)
        self.start = normal(width, scale=0.3)
        self.numbers = normal(features, 2, width, scale=1.0)
        self.shifts = normal(features, width, scale=0.5)
        self.mix = BatchedLinear(members, width, width, random_state=seeds[1])
        self.encoder = nn.ModuleList(
            _Layer(members, width, heads, dropout, False, s) for s in seeds[4 : 4 + layers]
        )
        self.decoder = nn.ModuleList(
            _Layer(members, width, heads, dropout, True, s) for s in seeds[4 + layers :]
        )
        self.ends = nn.ModuleList(LayerNorm(members, width) for _ in range(2))
        self.head = normal(features, width, tokens, scale=0.02)
        self.bias = nn.Parameter(torch.zeros(members, features, tokens))
        self.slope = nn.Parameter(torch.ones(members, features))

    def read(self, bins: Tensor, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """People's values as states, and what the encoder makes of them, (M, n, F, E) each."""
        own = self._look_up(1 + bins)
        hidden = torch.einsum("mnfk,mfke->mnfe", inputs, self.numbers) + self.shifts[:, None]
        own = own + self.mix(hidden.relu())
        memory = own + self.place[:, None]
        for layer in self.encoder:
            memory = layer(memory)
        return own, self.ends[0](memory)

    def _look_up(self, tokens: Tensor) -> Tensor:
        """Learned states of tokens (M, n, F)."""
        members, first = len(tokens), self.tokens * torch.arange(self.features)
        at = (tokens + first.to(tokens.device)).flatten(1)
        found = [F.embedding(i, rows) for i, rows in zip(at, self.table, strict=True)]
        return torch.stack(found).view(members, -1, self.features, self.width)

    def written(self, own: Tensor, tokens: Tensor) -> Tensor:
        """States of chosen tokens; a value that is kept looks like the person's own."""
        return self._look_up(tokens) + own * (tokens == KEEP)[..., None]

    def states(self, own: Tensor, memory: Tensor, tokens: Tensor) -> Tensor:
        """The decoder's states (M, n, F, E) before each feature, for known tokens."""
        before = self.written(own, tokens)[:, :, :-1]
        first = self.start[:, None, None, :].expand(-1, before.shape[1], 1, -1)
        hidden = torch.cat([first, before], dim=2) + self.place[:, None]
        for layer in self.decoder:
            hidden = layer(hidden, memory)
        return self.ends[1](hidden)

    def forward(
        self,
        bins: Tensor,
        inputs: Tensor,
        tokens: Tensor,
        moves: Tensor,
        allowed: Tensor,
    ) -> Tensor:
        """Log-probabilities (M, n, F, T) of every token given the ones before it.

        Args:
            bins: Bins of the people's values, (M, n, F).
            inputs: Their places, (M, n, F, 2).
            tokens: What they become, (M, n, F).
            moves: Cost of every option, (M, n, F, T).
            allowed: Options that may be taken, of the same shape.
        """
        own, memory = self.read(bins, inputs)
        states = self.states(own, memory, tokens)
        logits = torch.einsum("mnfe,mfet->mnft", states, self.head) + self.bias[:, None]
        logits = logits - self.lam * self.slope[:, None, :, None] * moves
        return logits.masked_fill(~allowed, -torch.inf).log_softmax(-1)


class _Layer(nn.Module):
    """Attention to the own sequence, to the memory where there is one, and a feed-forward part."""

    def __init__(
        self, members: int, width: int, heads: int, dropout: float, cross: bool, seeds: Seeds
    ):
        super().__init__()
        parts = iter(split_seeds(seeds, _PER_LAYER + 2))

        def linear(n_in: int, n_out: int) -> BatchedLinear:
            return BatchedLinear(members, n_in, n_out, random_state=next(parts))

        self.heads = heads
        self.norm = nn.ModuleList(LayerNorm(members, width) for _ in range(3 if cross else 2))
        self.qkv, self.out = linear(width, 3 * width), linear(width, width)
        self.wide, self.narrow = linear(width, 2 * width), linear(2 * width, width)
        self.drop = Dropout(members, dropout, random_state=next(parts))
        if cross:
            self.ask, self.tell = linear(width, width), linear(width, 2 * width)
            self.bring = linear(width, width)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        q, k, v = self.qkv(self.norm[0](x)).chunk(3, dim=-1)
        x = x + self.drop(self.out(self.attend(q, k, v, causal=memory is not None)))
        if memory is not None:
            k, v = self.tell(memory).chunk(2, dim=-1)
            x = x + self.drop(self.bring(self.attend(self.ask(self.norm[1](x)), k, v)))
        return x + self.drop(self.feed(x))

    def feed(self, x: Tensor) -> Tensor:
        return self.narrow(self.wide(self.norm[-1](x)).relu())

    def attend(self, q: Tensor, k: Tensor, v: Tensor, causal: bool = False) -> Tensor:
        """Attention of (M, n, L, E) to (M, n, S, E)."""
        shape = q.shape
        q, k, v = (
            t.flatten(0, 1).unflatten(-1, (self.heads, -1)).transpose(1, 2) for t in (q, k, v)
        )
        score = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        if causal:
            later = torch.ones(score.shape[-2:], dtype=torch.bool, device=score.device).triu(1)
            score = score.masked_fill(later, -torch.inf)
        return (score.softmax(-1) @ v).transpose(1, 2).reshape(shape)


class Writer:
    """Writes many outcomes per person at once, one feature after the other, from a cache.

    What the encoder made of a person is computed once and shared by the person's samples; what
    earlier tokens contribute to attention is kept and never computed again.

    Args:
        net: With one member.
        bins, inputs: Of the people, as for the network, without the axis of members.
        samples: Outcomes per person.
    """

    def __init__(self, net: PairTransformer, bins: Tensor, inputs: Tensor, samples: int):
        self.net, self.samples = net, samples
        own, memory = net.read(bins[None], inputs[None])
        self.own = own[0].repeat_interleave(samples, 0)  # (N, F, E)
        self.told = [layer.tell(memory).chunk(2, dim=-1) for layer in net.decoder]
        shape = (len(net.decoder), 2, net.features, len(self.own), net.width)
        self.cache = torch.empty(shape)
        self.at = 0

    def logits(self, previous: Tensor | None) -> Tensor:
        """Logits (N, T) of the next feature, without what its options cost.

        Args:
            previous: Tokens (N,) chosen for the feature before; None for the first.
        """
        net, j = self.net, self.at
        if previous is None:
            x = net.start[0].expand(len(self.own), -1)
        else:
            x = net.table[0][previous + (j - 1) * net.tokens]
            x = x + self.own[:, j - 1] * (previous == KEEP)[:, None]
        x = (x + net.place[0, j])[None]
        for i, layer in enumerate(net.decoder):
            q, k, v = layer.qkv(layer.norm[0](x)).chunk(3, dim=-1)
            self.cache[i, 0, j], self.cache[i, 1, j] = k[0], v[0]
            keys, values = self.cache[i, 0, : j + 1], self.cache[i, 1, : j + 1]
            x = x + layer.out(_attend_back(q[0], keys, values, layer.heads)[None])
            ask = layer.ask(layer.norm[1](x)).unflatten(1, (-1, self.samples))
            found = layer.attend(ask, *self.told[i])
            x = x + layer.bring(found.flatten(1, 2))
            x = x + layer.feed(x)
        self.at += 1
        return net.ends[1](x)[0] @ net.head[0, j] + net.bias[0, j]


def _attend_back(q: Tensor, keys: Tensor, values: Tensor, heads: int) -> Tensor:
    """One query per row, (N, E), to its own cached keys and values, (S, N, E)."""
    size = q.shape[-1] // heads
    score = (keys * (q / math.sqrt(size))).unflatten(-1, (heads, size)).sum(-1)
    weight = score.softmax(0)[..., None]
    return (values.unflatten(-1, (heads, size)) * weight).sum(0).flatten(-2)
