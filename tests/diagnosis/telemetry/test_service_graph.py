import json

import pytest

from workbench import CausalGraph, write_graph
from workbench.core.errors import FileFormatError, GraphError
from workbench.diagnosis import ServiceGraph, read_changes, read_service_graph

pytestmark = pytest.mark.filterwarnings("ignore::workbench.CausalWarning")
CALLS = (("cart", "db"), ("web", "cart"))
OTEL = "traces_service_graph_request_total"


@pytest.fixture
def write(tmp_path):
    def go(content, name):
        path = tmp_path / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return go


def otel(*calls):
    rows = [
        {"metric": {"__name__": OTEL, "client": u, "server": v}, "value": [1, str(n)]}
        for u, v, n in calls
    ]
    return {"status": "success", "data": {"resultType": "vector", "result": rows}}


FORMATS = {
    "jaeger.json": {
        "data": [
            {"parent": "web", "child": "cart", "callCount": 3},
            {"parent": "cart", "child": "db", "callCount": 2},
            {"parent": "cart", "child": "cart", "callCount": 2},
        ]
    },
    "otel.json": otel(("web", "cart", 5), ("cart", "db", 1)),
    "otel.prom": f'# TYPE {OTEL} counter\n{OTEL}{{client="web",server="cart"}} 5\n'
    f'{OTEL}{{client="cart",server="db",x="a\\"b"}} 1e3 1772373600\n',
    "pairs.json": [["web", "cart"], ["cart", "db"]],
    "nodes.json": {"nodes": ["web"], "edges": [["web", "cart"], ["cart", "db"]]},
    "objects.json": [{"source": "web", "target": "cart"}, {"source": "cart", "target": "db"}],
    "lists.json": {"web": ["cart"], "cart": ["db"], "db": []},
    "calls.csv": "caller,callee\nweb,cart\ncart,db\n",
    "more.csv": "client,server,n\nweb,cart,1\ncart,db,2\n",
    "edges.csv": "source,target\nweb,cart\ncart,db\n",
    "causes.csv": "cause,effect\ncart,web\ndb,cart\n",
    "graph.dot": "digraph { web -> cart -> db }",
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same_calls(write, name):
    found = read_service_graph(write(FORMATS[name], name))
    assert found.calls == CALLS and found.services == ("cart", "db", "web")


def test_graph_files_of_ours_and_causal_direction(tmp_path):
    graph = CausalGraph(["db", "cart", "web"], [("db", "cart"), ("cart", "web")])
    for name in ("g.json", "g.graphml", "g.dagitty"):
        write_graph(graph, tmp_path / name)
        assert read_service_graph(tmp_path / name, edges="causes").calls == CALLS


def test_loops_are_kept_and_named(write):
    path = write("digraph { a -> b -> a; web -> a }", "g.dot")
    assert read_service_graph(path).loops == (("a", "b"),)


def test_edges_without_calls_are_left_out_and_said(write):
    found = read_service_graph(
        write(otel(("web", "cart", 5), ("", "web", 3), ("a", "b", 0)), "o.json")
    )
    assert found.calls == (("web", "cart"),)
    assert "2 edges" in found.warnings[0].message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("j.json", '{"data": [{"parent": "a", "ch', "line 1.*ends too early"),
        ("j.json", {"data": []}, "no dependencies.*lookback"),
        ("j.json", {"data": None, "errors": [{"msg": "down"}]}, "down"),
        ("j.json", {"data": [{"parent": "a"}]}, "dependency 1 has no 'parent' or no 'child'"),
        ("j.json", {"data": [{"parent": "a", "child": "b", "callCount": "x"}]}, "callCount 'x'"),
        ("o.json", {"status": "error", "error": "boom"}, "boom"),
        ("o.json", otel(), "no series"),
        ("o.prom", "what is this\n", "line 1.*'what is this'"),
        ("o.prom", 'up{job="a"} 1\n', "has no metric traces_service_graph"),
        ("e.json", [], "empty"),
        ("e.json", [{"a": 1}], "no service graph"),
        ("e.json", 7, "no service graph"),
        ("g.dot", "digraph { a -> ", "line 1"),
        ("c.csv", "caller,callee\nweb\n", "line 2"),
    ],
)
def test_hostile_graphs_say_what_and_where(write, name, content, message):
    with pytest.raises(FileFormatError, match=message) as error:
        read_service_graph(write(content, name))
    assert name in str(error.value)


def test_no_calls_at_all(write):
    with pytest.raises(GraphError, match="holds no call"):
        ServiceGraph.from_calls([("a", "a")])
    with pytest.raises(GraphError, match="pair"):
        ServiceGraph.from_calls(["ab"])
    with pytest.raises(FileNotFoundError, match="nowhere"):
        read_service_graph("nowhere.json")


def test_changes(write):
    text = "Timestamp,Service,Version\n2026-03-01T15:00+01:00,cart,2.1\n2026-03-01T13:00Z,web,9\n"
    found = read_changes(write(text, "c.csv"))
    assert found["service"].tolist() == ["web", "cart"]
    assert str(found["time"].iloc[1]) == "2026-03-01 14:00:00+00:00"
    as_json = [{"time": "2026-03-01T14:00Z", "service": "cart", "what": "deploy"}]
    assert read_changes(write(as_json, "c.json"))["what"].tolist() == ["deploy"]
    with pytest.raises(FileFormatError, match="'service', found 'time'"):
        read_changes(write("time,what\n2026-03-01,x\n", "c.csv"))
    with pytest.raises(FileFormatError, match="line 2.*'soon'"):
        read_changes(write("time,service\nsoon,x\n", "c.csv"))
