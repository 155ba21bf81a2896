"""Makes diabetes_graph.svg: the graph that the demo learns. Run: python notebooks/make_diabetes_graph.py"""

from pathlib import Path

from workbench import Study
from workbench.datasets import load
from workbench.graph.draw import svg

data = load("diabetes")
study = Study(data.frame, schema=data.schema)
graph = study.discover(knowledge=data.knowledge, n_boot=100)
weights = {(u, v): study.ensemble.edge_confidence(u, v, "any") for u, v, *_ in graph.edges}
Path(__file__).with_name("diabetes_graph.svg").write_text(svg(graph, weights=weights))
