"""The error of a checkpoint that cannot be loaded."""


class LoadingError(ValueError):
    """A checkpoint cannot be loaded as it is, while others of the same run may be."""
