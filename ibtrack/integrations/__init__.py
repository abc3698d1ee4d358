"""Adapters to training loops and loggers."""
