"""Activations of a model: the modules they are taken from, hooks on them, and a forward pass that changes nothing."""
