import json
import multiprocessing
import os
import signal
import time

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from workbench import CausalGraph, Feature, Schema, load, save
from workbench.core.errors import SavedStateError
from workbench.tables.encode import Encoder


def values():
    return {
        "whole": 2**70,
        "nan": float("nan"),
        "text": "ü < & \n",
        "tuple": (1, 2.5, None, True),
        "set": {3, 1},
        (1, "key"): [np.float32(1.5), np.int8(-3)],
        "array": np.arange(12, dtype="int16").reshape(3, 4),
        "transposed": np.arange(6.0).reshape(2, 3).T,
        "empty": np.zeros((0, 3)),
        "complex": np.array([1 + 2j]),
        "dates": np.array(["2020-01-01"], dtype="datetime64[ns]"),
        "objects": np.array(["a", None, 2], dtype=object),
    }


def same(a, b):
    assert type(a) is type(b)
    if isinstance(a, dict):
        assert a.keys() == b.keys()
        for key in a:
            same(a[key], b[key])
    elif isinstance(a, list | tuple):
        assert len(a) == len(b)
        for x, y in zip(a, b, strict=True):
            same(x, y)
    elif isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    else:
        assert a == b or (a != a and b != b)


def test_values_come_back_as_they_were(tmp_path):
    save(values(), tmp_path / "v")
    same(values(), load(tmp_path / "v"))


def test_tables_come_back_as_they_were(tmp_path):
    df = pd.DataFrame(
        {
            "x": [1.5, np.nan, 3.0],
            "n": [1, 2, 3],
            "flag": [True, False, True],
            "level": pd.Categorical(["b", "a", None], ["b", "a"], ordered=True),
            "text": ["a", None, "ü"],
            "gap": pd.array([1, None, 3], dtype="Int64"),
            "day": pd.date_range("2020-01-01", periods=3, tz="UTC"),
        },
        index=pd.Index(["r1", "r2", "r3"], name="row"),
    )
    save({"df": df, "empty": df.iloc[:0, :0], "column": df["x"]}, tmp_path / "t")
    back = load(tmp_path / "t")
    pd.testing.assert_frame_equal(back["df"], df)
    pd.testing.assert_series_equal(back["column"], df["x"])
    assert back["empty"].shape == (0, 0)


def test_tensors_come_back_as_they_were(tmp_path):
    torch = pytest.importorskip("torch")
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3).T
    save([tensor], tmp_path / "t")
    assert torch.equal(load(tmp_path / "t")[0], tensor)


def test_objects_of_ours_come_back_equal(tmp_path):
    graph = CausalGraph(["a b", "c"], [("a b", "c")], info={"alpha": 0.01})
    schema = Schema([Feature("a b", bounds=(0, None)), Feature("c", "binary", levels=("n", "y"))])
    save((graph, schema), tmp_path / "o")
    back_graph, back_schema = load(tmp_path / "o")
    assert back_graph == graph and back_graph.info["alpha"] == 0.01
    assert back_schema == schema


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        RandomForestRegressor(5, random_state=0),
        HistGradientBoostingClassifier(max_iter=5),
    ],
    ids=lambda m: type(m).__name__,
)
def test_scikit_learn_leaves_predict_the_same(model, tmp_path):
    r = np.random.default_rng(0)
    x, y = r.normal(size=(50, 3)), r.integers(0, 2, 50)
    model.fit(x, y)
    save({"model": model}, tmp_path / "m")
    np.testing.assert_array_equal(load(tmp_path / "m")["model"].predict(x), model.predict(x))


def test_what_has_no_safe_form_is_refused_by_name(tmp_path):
    with pytest.raises(SavedStateError, match=r"\['f'\].*function"):
        save({"f": lambda: 1}, tmp_path / "x")
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(SavedStateError, match="nested too deeply"):
        deep = []
        for _ in range(200):
            deep = [deep]
        save(deep, tmp_path / "x")


def test_nothing_is_overwritten_unasked(tmp_path):
    save(1, tmp_path / "a")
    with pytest.raises(FileExistsError, match="force=True"):
        save(2, tmp_path / "a")
    save(2, tmp_path / "a", force=True)
    assert load(tmp_path / "a") == 2
    assert len(list(tmp_path.iterdir())) == 1 and len(list((tmp_path / "a").iterdir())) == 2
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(FileExistsError, match="not a folder saved by workbench"):
        save(3, tmp_path / "mine", force=True)
    assert (tmp_path / "mine" / "thesis.txt").exists()


def test_damage_is_recognised(tmp_path):
    save({"a": np.arange(100.0), "b": 1}, tmp_path / "s")
    content = next((tmp_path / "s").glob("content-*"))
    original = (content / "arrays.safetensors").read_bytes()
    (content / "arrays.safetensors").write_bytes(original[:50])
    with pytest.raises(SavedStateError, match="arrays.safetensors.*truncated or was altered"):
        load(tmp_path / "s")
    with pytest.raises(SavedStateError, match="no folder.*nowhere"):
        load(tmp_path / "nowhere")
    (tmp_path / "bare").mkdir()
    with pytest.raises(SavedStateError, match="no complete saved state"):
        load(tmp_path / "bare")


def test_newer_and_foreign_manifests_are_recognised(tmp_path):
    save(1, tmp_path / "s")
    manifest = tmp_path / "s" / "manifest.json"
    text = json.loads(manifest.read_text())
    manifest.write_text(json.dumps(text | {"format": 99}))
    with pytest.raises(SavedStateError, match="format 99.*Upgrade"):
        load(tmp_path / "s")
    manifest.write_text(json.dumps(text | {"content": "content-/../../etc"}))
    with pytest.raises(SavedStateError, match="not one of workbench's"):
        load(tmp_path / "s")
    manifest.write_text("{")
    with pytest.raises(SavedStateError):
        load(tmp_path / "s")


@pytest.mark.parametrize("label", ["os:system", "workbench.core.saving:_Writer", "builtins:object"])
def test_only_registered_classes_are_made(tmp_path, label):
    save(Encoder(), tmp_path / "s")
    folder = next((tmp_path / "s").glob("content-*"))
    tree = json.loads((folder / "tree.json").read_text())
    (folder / "tree.json").write_text(json.dumps(tree | {"class": label}))
    manifest = json.loads((tmp_path / "s" / "manifest.json").read_text())
    from workbench.core.saving import _digest

    manifest["files"]["tree.json"] = _digest(folder / "tree.json")
    (tmp_path / "s" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(SavedStateError, match="not a class of workbench|is unknown"):
        load(tmp_path / "s")


def _save_for_ever(path: str, started) -> None:
    started.set()
    for i in range(2, 100_000):
        save({"i": i, "a": np.full(2000, float(i)), "s": "x" * 1000}, path, force=i > 0)


@pytest.mark.parametrize("kills", [15, pytest.param(200, marks=pytest.mark.slow)])
def test_a_killed_save_leaves_the_old_state_or_the_new_one(tmp_path, kills):
    path = tmp_path / "state"
    save({"i": 1, "a": np.full(2000, 1.0), "s": ""}, path)
    context = multiprocessing.get_context("fork")
    r = np.random.default_rng(0)
    for _ in range(kills):
        started = context.Event()
        process = context.Process(target=_save_for_ever, args=(str(path), started))
        process.start()
        started.wait()
        time.sleep(r.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        state = load(path)
        assert (state["a"] == state["i"]).all()


def _save_once(path: str) -> None:
    save({"a": np.arange(5000.0), "b": ["x" * 100] * 50}, path)


@pytest.mark.parametrize("kills", [10, pytest.param(100, marks=pytest.mark.slow)])
def test_a_killed_first_save_leaves_nothing_half(tmp_path, kills):
    context = multiprocessing.get_context("fork")
    r = np.random.default_rng(1)
    for k in range(kills):
        path = tmp_path / f"s{k}"
        process = context.Process(target=_save_once, args=(str(path),))
        process.start()
        time.sleep(r.uniform(0, 0.02))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        if path.exists():
            assert len(load(path)["a"]) == 5000
