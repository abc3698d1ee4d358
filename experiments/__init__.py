"""Pre-training runs that ibtrack watches, the studies made of them, and the benchmarks of the measurement itself."""
