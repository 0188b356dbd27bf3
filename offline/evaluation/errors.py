"""What can be expected to go wrong with what an evaluation is given."""


class DataError(ValueError):
    """A data set or a file of forms cannot be used. The message says where and why, and holds none of its text."""
