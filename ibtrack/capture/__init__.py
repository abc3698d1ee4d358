"""Where activations come from: modules of a model, hooks on them, a forward pass that leaves no trace."""
