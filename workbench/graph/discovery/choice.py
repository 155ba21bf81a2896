"""Which test of independence a search asks: the caller's, or the one that suits the columns."""

from __future__ import annotations

from ...core.errors import ParameterError, did_you_mean
from ...core.seeding import Seed, sequence
from .design import Design
from .independence import GaussianTest, IndependenceTest

# From this many rows on G² finds the better skeletons in tables of levels; below, Wilks' test,
# which spends fewer degrees of freedom. Mean skeleton F1 at alpha 0.01 over asia, cancer,
# earthquake, hepar2, sachs, survey, win95pts (G², Wilks): 1,000 rows .69, .73; 2,000 .79, .81;
# 3,000 .82, .83; 5,000 .864, .857.
ROWS_FOR_COUNTS = 5000
TESTS = ("auto", "gaussian", "g2", "kci", "rcit")


def resolve(design: Design, test: str) -> str:
    """The test that is meant; ``"auto"`` is G² for 5,000 rows of levels, else Gaussian.

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
        counts = design.codes is not None and design.rows >= ROWS_FOR_COUNTS
        return "g2" if counts else "gaussian"
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
    sequence(random_state)
    test = resolve(design, test)
    if test == "gaussian":
        return GaussianTest(design)
    if test == "g2":
        from .g_squared import GSquaredTest

        return GSquaredTest(design)
    from .kernel_tests import KernelTest

    return KernelTest(design, test, random_state)


def words(design: Design, test: str) -> str:
    """Which test, why, and what it can't see."""
    name = resolve(design, test)
    if name == "gaussian":
        return _gaussian(design, test)
    if name == "g2":
        why = f"All columns are levels and rows are {ROWS_FOR_COUNTS:,} or more: "
        return (
            f"{why if test == 'auto' else ''}G² test on tables of counts, which sees dependence of "
            "any shape; conditioning on many columns leaves few rows for each table."
        )
    full = "Kernel test (KCI)" if name == "kci" else "Randomised kernel test (RCIT)"
    return f"{full}, as asked: sees dependence of any shape, and takes its time."


def _gaussian(design: Design, test: str) -> str:
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
    if test == "auto" and design.codes is not None:
        text += f" (From {ROWS_FOR_COUNTS:,} rows on it would be G² on tables of counts.)"
    return text + " Dependence that is not linear may go unseen."
