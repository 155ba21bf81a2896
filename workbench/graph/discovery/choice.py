"""Which test of independence a search asks: the caller's, or the one that suits the columns."""

from __future__ import annotations

from ...core.errors import ParameterError, did_you_mean
from ...core.seeding import Seed
from .design import Design
from .independence import GaussianTest, IndependenceTest

TESTS = ("auto", "gaussian", "g2", "kci", "rcit")


def resolve(design: Design, test: str) -> str:
    """The test that is meant; ``"auto"`` is G² where all columns are levels, else Gaussian.

    Raises:
        ParameterError: An unknown test, or G² for a table that holds a number.
    """
    if test not in TESTS:
        raise ParameterError(
            "is not a test of independence",
            column="test",
            value=test,
            advice=did_you_mean(test, TESTS),
        )
    if test == "auto":
        return "gaussian" if design.codes is None else "g2"
    if test == "g2" and design.codes is None:
        raise ParameterError(
            "'g2' needs a table of levels without numbers",
            column="test",
            value=test,
            advice="Use 'gaussian' or 'rcit', or cut the numbers into levels.",
        )
    return test


def chosen(design: Design, test: str, random_state: Seed = 0) -> IndependenceTest:
    """The test itself; for errors see :func:`resolve`."""
    test = resolve(design, test)
    if test == "gaussian":
        return GaussianTest(design)
    if test == "g2":
        from .g_squared import GSquaredTest

        return GSquaredTest(design)
    from .kernel_tests import KernelTest

    return KernelTest(design, test, random_state)


def words(design: Design, test: str) -> str:
    """One or two sentences: which test, why, and what it can't see."""
    name = resolve(design, test)
    if name == "g2":
        return (
            "All columns are levels: G² test on tables of counts. It sees dependence of any shape, "
            "but conditioning on many columns leaves few rows for each table."
        )
    if name in ("kci", "rcit"):
        full = "Kernel test (KCI)" if name == "kci" else "Randomised kernel test (RCIT)"
        return f"{full}, as asked: sees dependence of any shape, and takes its time."
    return _gaussian(design)


def _gaussian(design: Design) -> str:
    if design.wide:
        shown = ", ".join(map(repr, design.wide[:5])) + (", ..." if len(design.wide) > 5 else "")
        text = (
            f"Columns with more than two unordered levels ({shown}) enter as blocks of 0/1 "
            "columns: Wilks' likelihood-ratio test where they take part, Fisher-z on partial "
            "correlations elsewhere."
        )
    else:
        text = (
            "All columns are numbers, ordered or two-valued: Fisher-z test on partial correlations."
        )
    return text + " Dependence that is not linear may go unseen."
