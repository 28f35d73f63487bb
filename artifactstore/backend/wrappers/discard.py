"""Reads go through, writes go nowhere: what a dry run works on."""

from artifactstore.backend.wrappers.forward import ForwardingBackend
from artifactstore.digest import Buffer


class DiscardBackend(ForwardingBackend):
    """Says yes to every write, and does none. What was "written" can't be read back."""

    def put(self, key: str, body: Buffer) -> None:
        pass

    def put_if_absent(self, key: str, body: Buffer) -> None:
        pass

    def delete(self, key: str) -> None:
        pass
