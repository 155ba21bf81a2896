"""One ``random_state`` rules everything; global generators are left as they were found."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from .errors import ParameterError

Seed = int | np.random.SeedSequence


def sequence(random_state: Seed) -> np.random.SeedSequence:
    """The seed sequence of a ``random_state``: a non-negative integer or a sequence.

    Raises:
        ParameterError: For anything else. ``None`` is refused: it would make two runs differ.
    """
    if isinstance(random_state, np.random.SeedSequence):
        return random_state
    is_integer = isinstance(random_state, int | np.integer) and not isinstance(random_state, bool)
    if not is_integer or random_state < 0:
        raise ParameterError(
            "must be a non-negative integer",
            column="random_state",
            value=random_state,
            advice="The same integer gives the same result.",
        )
    return np.random.SeedSequence(int(random_state))


def generator(random_state: Seed) -> np.random.Generator:
    """A numpy generator of its own.

    Example:
        >>> bool(generator(3).random() == generator(3).random())
        True
    """
    return np.random.default_rng(sequence(random_state))


def spawn(random_state: Seed, n: int) -> list[np.random.SeedSequence]:
    """``n`` independent seed sequences, the same whatever worker uses them.

    Unlike ``SeedSequence.spawn`` this does not count earlier calls, so that asking twice
    gives the same children.
    """
    parent = sequence(random_state)
    return [
        np.random.SeedSequence(
            parent.entropy, spawn_key=(*parent.spawn_key, i), pool_size=parent.pool_size
        )
        for i in range(n)
    ]


def integer(random_state: Seed) -> int:
    """A 31-bit integer for libraries that take nothing else."""
    return int(sequence(random_state).generate_state(1)[0] >> 1)


@contextmanager
def foreign_generators(random_state: Seed) -> Iterator[None]:
    """Seed the global generators for code that reads them, and put them back afterwards.

    For libraries only (refuters, bootstraps, permutation searches that use ``random`` or
    ``numpy.random``); code of ours uses :func:`generator`. Global state is shared between
    threads: run such code in processes, never in threads.

    Example:
        >>> before = random.getstate()
        >>> with foreign_generators(0):
        ...     _ = random.random()
        >>> random.getstate() == before
        True
    """
    seed = integer(random_state)
    torch = sys.modules.get("torch")
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    torch_state = torch.get_rng_state() if torch else None
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if torch:
        torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
        if torch:
            torch.set_rng_state(torch_state)
