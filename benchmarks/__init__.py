"""One script per table; each runs as ``python -m benchmarks.NAME [--quick] [--seed N]``."""
