import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from workbench.core.errors import CausalWarning
from workbench.core.results import Result
from workbench.report import Card, Memo, Section, write_memo

NASTY = "<script>alert('x')</script> & \"quoted\""


class Answer(Result):
    warnings = (CausalWarning("overlap", NASTY),)

    def summary(self):
        return NASTY

    def to_frame(self, long=False):
        frame = pd.DataFrame(
            {NASTY: [1.23456, float("nan")], "b": [True, None], "c": [NASTY, ("a", "b")]}
        )
        return frame.rename_axis("row")

    def how(self):
        return {NASTY: NASTY}


def memo():
    def draw(ax):
        ax.plot([1, 2], [3, 4], label=NASTY)
        ax.set_title(NASTY)
        ax.legend()

    card = Card.of(NASTY, Answer(), draw=draw)
    section = Section(NASTY, NASTY, (card, card))
    return Memo(NASTY, (NASTY, "two"), (section,), {"seed": "0", "study": "a = 1\nb = 2"})


def test_the_page_is_whole_escaped_and_needs_no_network():
    html = memo().html()
    assert "<script" not in html
    assert not re.search(r"https?:|//\w|@import|url\((?!#)", html)

    class Balance(HTMLParser):
        def __init__(self):
            super().__init__()
            self.open = []

        def handle_starttag(self, tag, attrs):
            if tag not in ("meta", "br", "img", "path", "use", "rect"):
                self.open.append(tag)

        def handle_startendtag(self, tag, attrs):
            pass

        def handle_endtag(self, tag):
            if tag not in ("path", "use", "rect"):
                assert self.open.pop() == tag

    parser = Balance()
    parser.feed(html)
    assert parser.open == []


def test_pictures_on_one_page_share_no_ids():
    ids = re.findall(r'\bid="([^"]+)"', memo().html())
    assert len(ids) == len(set(ids))
    assert memo().html().count("<svg") == 2


def test_cells_are_written_for_people():
    html = memo().html()
    assert ">1.23<" in html and ">yes<" in html and ">a, b<" in html and "nan" not in html.lower()


def test_nothing_is_overwritten_unasked(tmp_path):
    path = write_memo(memo(), tmp_path / "new" / "r.html")
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    with pytest.raises(FileExistsError, match="force"):
        write_memo(memo(), path)
    write_memo(memo(), path, force=True)
    assert [p.name for p in path.parent.iterdir()] == ["r.html"]
