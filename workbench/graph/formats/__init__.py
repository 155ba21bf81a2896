"""Graph file formats, one per file: ``read(source) -> Draft`` and ``write(graph) -> Written``."""
