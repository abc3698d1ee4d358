"""Pre-training runs that are watched by ibtrack: documents → tokenizer → blocks → model → run."""
