"""What a guard raises when it cannot do its work. Messages hold no prompt or forget text."""


class CannotDecide(Exception):
    """Detection has no verdict. The gateway fails closed on it."""


class Overloaded(CannotDecide):
    """More text waits for the encoder than the queue admits."""
