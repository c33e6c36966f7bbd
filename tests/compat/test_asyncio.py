"""The client in coroutines."""

import asyncio
import time
from pathlib import Path

import pytest

from scaler import Client

pytestmark = pytest.mark.integration


def square(x: int) -> int:
    return x * x


def fail() -> None:
    raise LookupError("nothing")


def forever(mark: str) -> None:
    Path(mark).touch()
    time.sleep(3600)


def test_async_with():
    async def main() -> int:
        async with Client(n_workers=1) as client:
            result = await client.submit(square, 7)
        with pytest.raises(RuntimeError, match="closed"):
            client.submit(square, 7)
        return result

    assert asyncio.run(main()) == 49


def test_gather(client):
    async def main() -> list[int]:
        return await asyncio.gather(*[client.submit(square, i) for i in range(50)])

    assert asyncio.run(main()) == [i * i for i in range(50)]


def test_as_completed(client):
    async def main() -> list[int]:
        return [await some for some in asyncio.as_completed([client.submit(square, i) for i in range(10)])]

    assert sorted(asyncio.run(main())) == [i * i for i in range(10)]


def test_a_result_twice(client):
    async def main() -> tuple[int, int]:
        future = client.submit(square, 3)
        return await future, await future

    assert asyncio.run(main()) == (9, 9)


def test_a_failure(client):
    async def main() -> None:
        await client.submit(fail)

    with pytest.raises(LookupError, match="nothing"):
        asyncio.run(main())


def test_the_loop_goes_on_while_a_large_result_is_fetched(client):
    async def main() -> tuple[int, list[str]]:
        future = client.submit(bytes, 1 << 20)
        threads: list[str] = []
        read = future.result

        def watched() -> bytes:
            try:
                asyncio.get_running_loop()
                threads.append("loop")
            except RuntimeError:
                threads.append("thread")
            return read()

        future.result = watched
        return len(await future), threads

    assert asyncio.run(main()) == (1 << 20, ["thread"])


def test_a_timeout_cancels_the_task(client, tmp_path):
    async def main() -> bool:
        future = client.submit(forever, str(tmp_path / "started"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(future, 0.01)
        return future.cancelled()

    assert asyncio.run(main())


def test_a_cancelled_task(client, tmp_path):
    async def main() -> None:
        future = client.submit(forever, str(tmp_path / "started"))
        future.cancel()
        await future

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(main())
