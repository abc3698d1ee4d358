"""The record of a run: names of its numbers, points, trajectory files. Nothing here needs torch."""
