"""Pure functions on tensors: from activations and labels to entropies and informations with their errors."""
