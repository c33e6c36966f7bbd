"""The dashboard as people see it: a headless browser looks at a live cluster."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from scaler import Client, SchedulerClusterCombo
from tests.web import browser

from .conftest import wait_until

MISSING = browser.missing()
pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(MISSING) and "CI" not in os.environ, reason=MISSING or "-"),
]
# Rows are drawn anew with every update: what is done with one is done in one step, in the browser.
ROW_OF_SLEEP = "[...document.querySelectorAll('#table-running tbody tr')].find(r => r.cells[1].textContent == 'sleep')"
VIEWS = ("overview", "stream", "functions", "workers", "graphs", "profile", "objects", "failures", "log")


def price(number: int) -> int:
    time.sleep(0.02)
    if number == 13:
        raise ValueError("thirteen is no price")
    return number


def wait(flag: str) -> None:
    while not Path(flag).exists():
        time.sleep(0.01)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """(browser, client) of a cluster that is at work, with the dashboard opened."""
    combo = SchedulerClusterCombo(2, logging_level="ERROR", protected=False)
    program = Path(sys.executable).with_name("scaler_gui")
    command = [str(program), combo.get_monitor_address(), "--gui-address", "127.0.0.1:0"]
    gui = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert gui.stdout is not None
        address = next(line for line in gui.stdout if line.startswith("open http://")).split()[1]
        with Client(combo.get_address(), name="ann", timeout_seconds=20) as client, browser.browser() as driver:
            driver.get(address)
            yield driver, client
    finally:
        gui.terminate()
        gui.communicate(timeout=20)
        assert gui.returncode == 0
        combo.shutdown()


def shown(driver, view: str) -> str:
    """What can be read of a view."""
    driver.execute_script(f"location.hash = '#/{view}'")
    return driver.find_element("id", view).text


def test_each_view_shows_what_happens(page, tmp_path):
    driver, client = page
    futures = [client.submit(price, number) for number in range(20)]
    client.wait(futures)
    client.get({"a": (price, 1), "b": (price, "a"), "total": (max, "a", "b")}, ["total"])
    held = client.submit(wait, str(tmp_path / "flag"))
    never = client.submit_verbose(price, (1,), {}, capabilities={"moon": -1})
    wait_until(lambda: "connected to tcp://" in driver.find_element("id", "connection").text, "the connection")
    wait_until(lambda: "offers moon; none of those here does" in shown(driver, "overview"), "what waits in vain")
    assert "ann" in shown(driver, "overview")
    wait_until(lambda: "wait" in shown(driver, "stream"), "what runs now")
    wait_until(lambda: len(driver.find_elements("css selector", "#chart-stream .point")) >= 20, "bars of tasks")
    legend = "return [...document.querySelectorAll('#chart-stream .legendtext')].map(e => e.textContent)"
    assert {"price", "max"} <= set(driver.execute_script(legend))
    assert "price" in shown(driver, "functions") and "max" in shown(driver, "graphs")
    assert "running" in shown(driver, "workers")
    assert "memory" in shown(driver, "objects")
    assert "builtins.ValueError: thirteen is no price" in shown(driver, "failures")
    driver.execute_script("document.querySelector('#list-failures summary').click()")
    assert 'raise ValueError("thirteen is no price")' in shown(driver, "failures")
    assert "connected" in shown(driver, "log")
    (tmp_path / "flag").touch()
    held.result(20)
    never.cancel()
    assert [entry for entry in driver.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_a_task_is_explained_and_another_one_cancelled(page):
    driver, client = page
    future = client.submit_verbose(price, (1,), {}, capabilities={"moon": -1}, name="to the moon")
    client.submit(time.sleep, 60)
    wait_until(lambda: "sleep" in shown(driver, "stream"), "the task that runs")
    label = driver.execute_script(f"return {ROW_OF_SLEEP}.cells[0].textContent")
    client_number, _, sequence = label.partition(":")
    shown(driver, "failures")
    box = driver.find_element("id", "why-task")
    box.send_keys(f"{client_number}:{int(sequence) - 1}")
    box.submit()
    wait_until(lambda: "moon" in driver.find_element("id", "because").text, "the reason")
    driver.execute_script("window.confirm = () => true")
    shown(driver, "stream")
    driver.execute_script(
        f"[...{ROW_OF_SLEEP}.querySelectorAll('button')].find(b => b.textContent == 'cancel').click()"
    )
    wait_until(lambda: "sleep" not in driver.find_element("id", "table-running").text, "the end of the task")
    future.cancel()


def spin(seconds: float) -> float:
    """Where a profile finds it."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))
    return seconds


def test_a_profile_becomes_a_flame_graph_and_a_table(page):
    driver, client = page
    future = client.submit(spin, 60)
    shown(driver, "profile")
    driver.execute_script(
        "document.getElementById('look-seconds').value = 600; document.getElementById('look-function').value = 'spin'"
    )
    driver.find_element("id", "look-begin").click()
    wait_until(lambda: "test_gui.py" in driver.find_element("id", "table-profile").text, "a part of the profile", 30)
    labels = "return [...document.querySelectorAll('#chart-flame .slicetext')].map(e => e.textContent)"
    assert "spin" in driver.execute_script(labels)
    driver.find_element("id", "look-stop").click()
    wait_until(lambda: "ended" in driver.find_element("id", "look-label").text, "the end")
    for form, text in (("speedscope", "speedscope.app"), ("folded", "spin;spin")):
        link = driver.find_element("id", f"look-{form}").get_attribute("href")
        fetched = driver.execute_async_script("fetch(arguments[0]).then(r => r.text()).then(arguments[1])", link)
        assert text in fetched
    future.cancel()


def test_the_nodes_of_a_graph_are_shown_by_their_state(page, tmp_path):
    driver, client = page
    flag = str(tmp_path / "flag")
    graph = {"held": (wait, flag), **{f"after {n}": (pair, "held", n) for n in range(3)}}
    graph["end"] = (pair, "after 0", "after 1", "after 2")
    futures = client.get(graph, ["end"], block=False)
    wait_until(lambda: "pair" in shown(driver, "graphs"), "the graph")
    press = "[...document.querySelectorAll('#table-graphs button')].find(b => b.textContent == 'nodes')?.click()"
    driver.execute_script(press)
    nodes = driver.find_element("id", "table-nodes")
    wait_until(lambda: "running" in nodes.text and nodes.text.count("waiting") == 4, "nodes and their states")
    assert len(driver.find_elements("css selector", "#chart-nodes .point")) == 5
    Path(flag).touch()
    assert futures["end"].result(20) is not None
    wait_until(lambda: "nothing of it is left" in driver.find_element("id", "nodes-title").text, "the end of the graph")


def pair(*parts: object) -> list[object]:
    return list(parts)


@pytest.mark.parametrize("width", [400, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    driver, _ = page
    driver.set_window_size(width, 900)
    for view in VIEWS:
        shown(driver, view)
        fits = "return document.documentElement.scrollWidth <= innerWidth"
        wait_until(lambda: driver.execute_script(fits), f"{view} within the screen")  # noqa: B023
    driver.set_window_size(1280, 900)


def test_the_keyboard_is_enough(page):
    driver, _ = page
    shown(driver, "overview")
    driver.find_element("css selector", "body").send_keys("4")
    assert driver.find_element("id", "workers").is_displayed()
    driver.find_element("id", "tab-workers").send_keys("\ue014")  # The right arrow.
    assert driver.find_element("id", "graphs").is_displayed()
    assert driver.switch_to.active_element.get_attribute("id") == "tab-graphs"
    named = "e.textContent.trim() || e.labels?.length || e.ariaLabel"
    unlabelled = f"return [...document.querySelectorAll('button, input, select')].filter(e => !({named})).length"
    for view in VIEWS:
        shown(driver, view)
        assert driver.execute_script(unlabelled) == 0, view
