"""What a guard raises when it cannot do its work. Messages hold no prompt or forget text."""


class CannotDecide(Exception):
    """Detection has no verdict. The gateway fails closed on it."""


class Overloaded(CannotDecide):
    """More text waits for the encoder than the queue admits."""


class OverQuota(CannotDecide):
    """A client has taken its share of the encoder's time. ``wait`` is the seconds until it may ask again."""

    def __init__(self, wait: float) -> None:
        super().__init__("the client has taken its share of the encoder's time")
        self.wait = wait
