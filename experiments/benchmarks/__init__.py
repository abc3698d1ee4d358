"""Benchmarks: programs that measure how good the readings are and what they cost, and write the results as JSON."""
