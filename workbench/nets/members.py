"""The member axis: M small networks held and trained as one.

The law of a network with a member axis: every parameter has a leading axis of length M; every
buffer has one of length M, or of length 1 if all members share it.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from ..core.errors import ParameterError, SavedStateError
from ..core.parameters import Parameterised
from ..core.seeding import Seed, spawn

Seeds = Sequence[np.random.SeedSequence]
Net = TypeVar("Net", bound=nn.Module)


def member_seeds(random_state: Seed | Seeds, members: int) -> list[np.random.SeedSequence]:
    """One seed sequence per member: ``spawn(random_state, members)``, or the list as given.

    Member m of an ensemble made with ``random_state=0`` is the lone network made with
    ``random_state=[member_seeds(0, m + 1)[m]]``.

    Raises:
        ParameterError: ``members`` is below one, or the list is not one sequence per member.
    """
    if not isinstance(members, int | np.integer) or members < 1:
        raise ParameterError("must be a positive integer", column="members", value=members)
    if not isinstance(random_state, list | tuple):
        return spawn(random_state, members)
    if len(random_state) != members:
        raise ParameterError(
            f"has {len(random_state)} seeds for {members} members", column="random_state"
        )
    for seed in random_state:
        if not isinstance(seed, np.random.SeedSequence):
            raise ParameterError(
                "a list must hold one seed sequence per member",
                column="random_state",
                value=seed,
                advice="Use member_seeds(random_state, members).",
            )
    return list(random_state)


def split_seeds(seeds: Seeds, parts: int) -> list[list[np.random.SeedSequence]]:
    """Independent seeds for each of several parts of a network: ``parts`` lists of M.

    Example:
        >>> body, head = split_seeds(member_seeds(0, 3), 2)
        >>> len(body), body[0].spawn_key, head[2].spawn_key
        (3, (0, 0), (2, 1))
    """
    children = [spawn(seed, parts) for seed in seeds]
    return [[own[part] for own in children] for part in range(parts)]


def count_members(net: nn.Module) -> int:
    """The length M of the member axis.

    Raises:
        ParameterError: The parameters disagree, or there are none.
    """
    first, members = "", None
    for name, parameter in net.named_parameters():
        length = parameter.shape[0] if parameter.ndim else None
        if members is None:
            first, members = name, length
        if length is None or length != members:
            raise ParameterError(
                f"has no member axis of length {members} like {first!r}; "
                f"its shape is {tuple(parameter.shape)}",
                column=name,
                advice="Give every parameter a leading axis, one entry per member.",
            )
    if members is None:
        raise ParameterError("has no parameters", column="net")
    return members


def select(net: Net, index: int | Sequence[int]) -> Net:
    """A copy of the network with only some members (an integer gives a network with M = 1).

    Example:
        >>> from workbench.nets import BatchedLinear
        >>> net = BatchedLinear(3, 2, 1)
        >>> x = torch.ones(5, 2)
        >>> torch.equal(select(net, 2)(x), net(x)[2:])
        True
    """
    members = count_members(net)
    wanted = [index] if isinstance(index, int | np.integer) else list(index)
    for i in wanted:
        if not -members <= i < members:
            raise ParameterError(f"there are {members} members", column="index", value=i)
    keep = torch.tensor([i % members for i in wanted], dtype=torch.long)
    chosen = copy.deepcopy(net)
    for parameter in chosen.parameters():
        parameter.grad = None
        parameter.data = parameter.data[keep.to(parameter.device)]
    for module, name, buffer in member_buffers(chosen, members):
        setattr(module, name, buffer[keep.to(buffer.device)])
    return chosen


def member_buffers(net: nn.Module, members: int) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """The buffers that differ between members, with the modules that own them."""
    for module in net.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if not buffer.ndim or buffer.shape[0] not in (1, members):
                raise ParameterError(
                    f"has shape {tuple(buffer.shape)}; it needs a leading axis of length "
                    f"{members} (own) or 1 (shared)",
                    column=name,
                )
            if buffer.shape[0] == members:
                yield module, name, buffer


class BatchedModule(nn.Module):
    """Base of networks with a member axis: they know M and can be saved.

    A subclass keeps its constructor's arguments as attributes of the same names (``members``,
    ``random_state`` and ``dtype`` excepted) and is decorated with
    :func:`workbench.core.saving.saveable`. What is saved is these arguments and the tensors.
    """

    @property
    def members(self) -> int:
        """The length M of the member axis."""
        return count_members(self)

    @classmethod
    def _architecture(cls) -> list[str]:
        names = Parameterised._parameter_names.__func__(cls)
        return [n for n in names if n not in ("random_state", "dtype")]

    def _state(self) -> dict[str, Any]:
        return {
            "architecture": {name: getattr(self, name) for name in self._architecture()},
            "tensors": dict(self.state_dict()),
        }

    @classmethod
    def _from_state(cls, state: dict[str, Any]) -> BatchedModule:
        tensors = state["tensors"]
        try:
            net = cls(**state["architecture"])
            for tensor in tensors.values():
                if tensor.is_floating_point():
                    net.to(tensor.dtype)
                    break
            net.load_state_dict(tensors)
        except (RuntimeError, TypeError, AttributeError) as error:
            raise SavedStateError(
                f"the saved tensors do not fit a {cls.__name__}: {error}"
            ) from error
        return net.eval()
