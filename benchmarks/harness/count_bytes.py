"""Pass a server's traffic on, and count it: what a tool really moves, whatever it says.

    count_bytes.py HOST PORT        prints its own port, then for each line on standard input the bytes so far

In a process of its own. It costs time, so nothing is timed through it.
"""

import asyncio
import sys
from typing import Final

_READ_BYTES: Final = 256 << 10


class _Relay:
    """Attributes: moved_bytes: both ways, of all connections."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self.moved_bytes = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection(self._host, self._port, limit=_READ_BYTES)
        await asyncio.gather(self._pass_on(reader, there_writer), self._pass_on(there_reader, writer))

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while block := await reader.read(_READ_BYTES):
                self.moved_bytes += len(block)
                writer.write(block)
                await writer.drain()
        except ConnectionError:
            pass  # who goes without a word has heard enough
        finally:
            writer.close()


async def _main(host: str, port: int) -> None:
    relay = _Relay(host, port)
    server = await asyncio.start_server(relay.serve, "127.0.0.1", 0, limit=_READ_BYTES)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        print(relay.moved_bytes, flush=True)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2])))
