"""A line of a bill."""

from dataclasses import dataclass

from scale.prices import Price


@dataclass(frozen=True, kw_only=True)
class Line:
    """What is paid for, how its quantity is reckoned, and its price."""

    service: str
    what: str
    arithmetic: str
    quantity: float
    price: Price

    @property
    def dollars(self) -> float:
        """What it comes to."""
        return self.quantity / self.price.per * self.price.dollars


def line(service: str, what: str, arithmetic: str, quantity: float, price: Price) -> Line:
    """Return a line; the arithmetic is its quantity in words."""
    return Line(service=service, what=what, arithmetic=arithmetic, quantity=quantity, price=price)
