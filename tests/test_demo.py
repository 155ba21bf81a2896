import re

import pytest

from workbench.demo import demonstrate

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")


@pytest.mark.slow
def test_the_demo_ends_with_a_report_of_one_file(tmp_path):
    said = []
    path = demonstrate(tmp_path / "demo", say=said.append)
    html = path.read_text(encoding="utf-8")
    assert path.stat().st_size < 2_000_000
    assert not re.search(r"https?:|<script|@import", html)
    for text in ("bmi → progression", "bp → progression", "What to do", "Why it is unusual"):
        assert text in html
    assert (tmp_path / "demo" / "study.toml").is_file()
    assert any("resamples" in line for line in said)
    with pytest.raises(FileExistsError):
        demonstrate(tmp_path / "demo", say=said.append)
