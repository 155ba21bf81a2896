"""One case after the other in a process that can be ended: foreign code may hang."""

from __future__ import annotations

import warnings
from concurrent.futures import TimeoutError as FutureTimeout
from typing import Any, Self

from ..core.errors import ParameterError


class Worker:
    """A process with a copy of an estimator, replaced when a case runs out of time.

    A case that ends the process itself (out of memory, a crash in compiled code) counts as one
    that gave no answer.
    """

    def __init__(self, estimator: Any, seed: int, time_limit: float, treatment: str | None = None):
        from joblib.externals.loky.cloudpickle_wrapper import dumps

        try:
            self.copy = dumps(estimator)
        except Exception as error:  # what can't be copied says so in many ways
            raise ParameterError(
                f"can't be copied to another process: {error}",
                column="estimator",
                value=type(estimator).__name__,
            ) from error
        self.seed, self.time_limit, self.pool = seed, float(time_limit), None
        self.treatment = treatment

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: Any) -> None:
        self._stop()

    def ask(self, case: str) -> Any:
        """The result of a case by its name; None when it did not end."""
        from joblib.externals.loky.process_executor import BrokenProcessPool

        if self.pool is None:
            self._start()
        try:
            with warnings.catch_warnings():  # a worker that is replaced in time is no news
                warnings.simplefilter("ignore", UserWarning)
                asked = self.pool.submit(_answer, self.copy, case, self.seed, self.treatment)
            return asked.result(self.time_limit)
        except (FutureTimeout, BrokenProcessPool):
            self._stop()
            return None

    def _start(self) -> None:
        from joblib.externals.loky import ProcessPoolExecutor

        self.pool = ProcessPoolExecutor(max_workers=1, timeout=None)
        # What is slow to import must not count against the first case.
        self.pool.submit(_warm_up, self.copy, self.treatment).result()

    def _stop(self) -> None:
        if self.pool is not None:
            self.pool.shutdown(wait=True, kill_workers=True)
            self.pool = None


def _warm_up(estimator: bytes, treatment: str | None) -> None:
    from joblib.externals.loky.cloudpickle_wrapper import loads

    from .estimator import cases_for, run_case

    copy = loads(estimator)
    run_case(copy, cases_for(copy, treatment=treatment)[0])


def _answer(estimator: bytes, case: str, seed: int, treatment: str | None) -> Any:
    from joblib.externals.loky.cloudpickle_wrapper import loads

    from .estimator import cases_for, run_case

    copy = loads(estimator)
    asked = next(c for c in cases_for(copy, seed, treatment) if c.name == case)
    return run_case(copy, asked, seed)
