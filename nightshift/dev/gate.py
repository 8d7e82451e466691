"""Who may come in: whoever has the token, from this page, under the name that it was opened by."""

import hmac

# A page of another site can have its own name lead to this machine, and only the name tells; its Origin tells, too, of
# forms that another site sends here. A cookie is no help: browsers send it to every port of the machine.
NAMES = ("127.0.0.1", "localhost")


def refuse_host(host: str | None, *, port: int) -> str | None:
    """Return why a request is refused for the name that it came by, None where it is not."""
    if host in {f"{name}:{port}" for name in NAMES}:
        return None
    return "this server answers to 127.0.0.1 alone"


def refuse_origin(origin: str | None, *, host: str | None) -> str | None:
    """Return why a request to change something is refused for the page that it came from, None where it is not."""
    if origin == f"http://{host}":
        return None
    return "only the page of this server may ask for that"


def refuse_token(given: str, token: str) -> str | None:
    """Return why a request is refused for its token, None where it is not."""
    if hmac.compare_digest(given.encode(), token.encode()):
        return None
    return "open the address that nightshift dev has printed, with its token"
