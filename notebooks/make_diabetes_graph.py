"""Makes diabetes_graph.svg: the graph that the demo learns. Run: python notebooks/make_diabetes_graph.py"""

from pathlib import Path

from workbench import Study
from workbench.datasets import load
from workbench.graph.draw import svg

if __name__ == "__main__":
    data = load("diabetes")
    study = Study(data.frame, schema=data.schema)
    graph = study.discover(knowledge=data.knowledge, n_boot=100)
    Path(__file__).with_name("diabetes_graph.svg").write_text(svg(graph))
