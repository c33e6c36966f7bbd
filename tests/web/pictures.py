"""``python -m tests.web.pictures``: the pictures of the dashboard in ``docs/pictures``, of a cluster that is at work."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from pathlib import Path

from scaler import Client, SchedulerClusterCombo, keyring
from scaler.ids import Address
from scaler.web.server import serve

from .browser import browser

WHERE = Path(__file__).parents[2] / "docs" / "pictures"
PICTURES = (("overview", False), ("stream", False), ("workers", True), ("graphs", False), ("profile", False))
ADDRESS = Address.parse("tcp://127.0.0.1:50123")
WARM_SECONDS = 20.0
NODES_OF_THE_NEWEST = """[...document.querySelectorAll('#table-graphs tbody tr')].find(r => r.cells[0].textContent == 'slow')
  .querySelector('button').click()"""


def price(seconds: float) -> float:
    """Uses a processor for so long."""
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass
    return seconds


def load(seconds: float) -> float:
    """Waits, as for a disk."""
    time.sleep(seconds)
    return seconds


def parse(number: int) -> int:
    """Fails sometimes."""
    time.sleep(0.05)
    if number % 11 == 0:
        raise ValueError(f"line {number} has no comma")
    return number


def total(*numbers: float) -> float:
    """The end of a graph."""
    time.sleep(0.1)
    return sum(numbers)


def work(client: Client, stop: threading.Event) -> None:
    """Rounds of different tasks until told to stop."""
    chance = random.Random(1)
    while not stop.is_set():
        futures = [client.submit(price, chance.random() / 3) for _ in range(6)]
        futures += [client.submit(load, chance.random() / 3) for _ in range(10)]
        parsed = [client.submit(parse, number) for number in range(1, 13)]
        graph: dict[str, object] = {f"part {n}": (load, chance.random() / 5) for n in range(8)}
        client.get(graph | {"all": (total, *graph)}, ["all"])
        client.wait([*futures, *parsed])


def slow(seconds: float, *needed: object) -> float:
    """A step of a graph."""
    time.sleep(seconds)
    return seconds


def _report() -> dict[str, object]:
    """A graph of four layers."""
    graph: dict[str, object] = {f"load {n}": (slow, 0.3) for n in range(12)}
    graph |= {f"clean {n}": (slow, 1.0, f"load {n}") for n in range(12)}
    graph |= {f"join {n}": (slow, 1.0, f"clean {2 * n}", f"clean {2 * n + 1}") for n in range(6)}
    return graph | {"report": (slow, 1.0, *(f"join {n}" for n in range(6)))}


def main() -> None:
    """Write them."""
    WHERE.mkdir(exist_ok=True)
    stop, ready = threading.Event(), asyncio.Event()
    combo = SchedulerClusterCombo(4, logging_level="ERROR", protected=False)
    dashboard = threading.Thread(
        target=lambda: asyncio.run(serve(Address.parse(combo.get_monitor_address()), ADDRESS, (), ready)), daemon=True
    )
    dashboard.start()
    with Client(combo.get_address(), name="notebook") as client:
        worker = threading.Thread(target=work, args=(client, stop))
        worker.start()
        time.sleep(WARM_SECONDS)
        for view, dark in PICTURES:
            with browser(1200, 820, dark) as driver:
                top = f"http://{ADDRESS.host}:{ADDRESS.port}"
                driver.get(f"{top}/login")
                secret = keyring.find(Address.parse(combo.get_monitor_address())).decode()
                driver.find_element("name", "secret").send_keys(secret + "\n")
                driver.get(f"{top}/#/{view}")
                time.sleep(3)
                if view == "profile":
                    driver.execute_script("document.getElementById('look-seconds').value = 8")
                    driver.find_element("id", "look-begin").click()
                    time.sleep(10)
                if view == "graphs":
                    client.get(_report(), ["report"], block=False)
                    time.sleep(3)
                    driver.execute_script(NODES_OF_THE_NEWEST)
                    time.sleep(2)
                driver.save_screenshot(str(WHERE / f"gui-{view}.png"))
        stop.set()
        worker.join()
    combo.shutdown()


if __name__ == "__main__":
    main()
