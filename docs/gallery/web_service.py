"""A web service that computes on a cluster: the event loop answers everybody, while tasks
run elsewhere."""

import asyncio
import json
from urllib.parse import parse_qs, urlsplit

from scaler import Client

LARGEST = 10**12


def factors(number):
    """What keeps a processor busy."""
    found, divisor = [], 2
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.append(divisor)
            number //= divisor
        divisor += 1
    return [*found, number] if number > 1 else found


class Service:
    def __init__(self, client):
        self.client = client

    async def answer(self, target):
        """Status and content for ``/factors?of=NUMBER``."""
        url = urlsplit(target)
        if url.path != "/factors":
            return "404 Not Found", {"error": f"nothing is at {url.path}"}
        try:
            number = int(parse_qs(url.query)["of"][0])
            if not 1 <= number <= LARGEST:
                raise ValueError
        except (KeyError, ValueError):
            return "400 Bad Request", {"error": f"write ?of=NUMBER, with a number from 1 to {LARGEST}"}
        try:
            async with asyncio.timeout(10):  # who waits longer gets an error, and the task is cancelled
                return "200 OK", {"factors": await self.client.submit(factors, number)}
        except TimeoutError:
            return "503 Service Unavailable", {"error": "too much to do"}

    async def serve(self, reader, writer):
        """One request of HTTP; a real service leaves this to its framework."""
        request = await reader.readuntil(b"\r\n\r\n")
        status, content = await self.answer(request.split()[1].decode())
        body = json.dumps(content).encode()
        writer.write(f"HTTP/1.0 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        writer.close()


async def get(port, target):
    """What a browser does."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {target} HTTP/1.0\r\n\r\n".encode())
    head, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    return f"{target}: {head.split(None, 1)[1].splitlines()[0].decode()} {body.decode()}"


async def main():
    async with Client() as client:
        server = await asyncio.start_server(Service(client).serve, "127.0.0.1", 0)
        async with server:
            port = server.sockets[0].getsockname()[1]
            targets = [f"/factors?of={number}" for number in (97, 2**20, 999_999_000_001)]
            for line in await asyncio.gather(*[get(port, target) for target in [*targets, "/factors?of=0", "/"]]):
                print(line)


if __name__ == "__main__":
    asyncio.run(main())
