import subprocess
import sys

import pandas as pd
import pytest

from workbench.core.errors import QuestionError
from workbench.datasets import available, load
from workbench.datasets.catalogue import shipped


@pytest.mark.parametrize("name", ["diabetes", "clinic", "health_insurance"])
def test_every_data_set_loads_and_fits_its_description(name):
    data = load(name)
    assert set(data.schema.names) == set(data.frame.columns)
    rows, columns = map(int, available().loc[name, "size"].split(" x "))
    assert data.frame.shape == (rows, columns)
    if data.graph is not None:
        assert set(data.graph.nodes) <= set(data.frame.columns)
    if data.knowledge is not None:
        data.knowledge.check(data.frame.columns)


def test_unknown_names_get_a_suggestion():
    with pytest.raises(QuestionError, match="'diabets'.*Did you mean 'diabetes'"):
        load("diabets")


def test_shipped_tables_are_what_their_script_makes(tmp_path):
    script = shipped("data", "make_clinic.py")
    copy = tmp_path / script.name
    copy.write_text(script.read_text())
    subprocess.run([sys.executable, copy], check=True)
    made = pd.read_csv(tmp_path / "clinic.csv")
    pd.testing.assert_frame_equal(made, pd.read_csv(shipped("data", "clinic.csv")))


def test_the_shop_is_what_its_script_makes(tmp_path):
    script = shipped("data", "make_shop.py")
    copy = tmp_path / "data" / script.name
    copy.parent.mkdir()
    copy.write_text(script.read_text())
    subprocess.run([sys.executable, copy], check=True)
    made = pd.read_parquet(copy.parent / "shop_metrics.parquet")
    pd.testing.assert_frame_equal(made, pd.read_parquet(shipped("data", "shop_metrics.parquet")))
    for kind, name in (("data", "shop_changes.csv"), ("graphs", "shop_services.json")):
        assert (tmp_path / kind / name).read_text() == shipped(kind, name).read_text()
