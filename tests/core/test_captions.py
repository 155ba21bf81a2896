"""Names on pictures fit, and say what the caller wrote."""

from matplotlib.figure import Figure

from workbench.core.captions import caption, level_of, name_axes, name_places


def test_short_names_stay_as_they_are():
    assert caption("blood pressure") == "blood pressure"
    assert level_of("team", "red") == "team red"


def test_long_names_are_broken_then_cut():
    assert caption("a" * 50, 20, 1) == "a" * 16 + " ..."
    assert max(map(len, caption("word " * 40, 20, 3).split("\n"))) <= 20
    column, level = level_of("a column with a long name", "practice 07", after=" (n = 3)").split(
        "\n"
    )
    assert column == "a column with a long name" and level == "practice 07 (n = 3)"


def test_labels_keep_inside_the_picture():
    ax = Figure(figsize=(6.4, 4.8), layout="constrained").subplots()
    name_places(
        ax, range(3), [f"group {k} of a column with a long name and $ in it" for k in range(3)]
    )
    name_axes(ax, "the effect of one long name on another long name " * 3, "another " * 30)
    ax.figure.draw_without_rendering()
    page = ax.figure.bbox
    for text in (ax.xaxis.label, ax.yaxis.label, *ax.get_yticklabels()):
        box = text.get_window_extent()
        assert page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1
    assert all(r"\$" in tick.get_text() for tick in ax.get_yticklabels())
