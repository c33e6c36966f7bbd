"""One cluster, several clients: what is urgent goes first, equals take turns, and what
needs a certain machine goes there."""

import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

from scaler import Client, SchedulerClusterCombo


def work(who):
    """Takes a moment, and tells when it began."""
    began = time.monotonic()
    time.sleep(0.02)
    return began, who


def wait_for(file):
    while not Path(file).exists():
        time.sleep(0.005)


@contextmanager
def all_slots_taken(client):
    """So that everything submitted here waits, until the end of the block."""
    with tempfile.TemporaryDirectory() as directory:
        gate = Path(directory, "open")
        held = client.submit(wait_for, str(gate))
        yield
        gate.touch()
        held.result()


def in_order(futures):
    """Whose turn it was, one after the other."""
    return [who for _, who in sorted(future.result() for future in futures)]


def main():
    with (
        SchedulerClusterCombo(n_workers=1, per_worker_capabilities={"gpu": 1}, logging_level="ERROR") as cluster,
        Client(cluster.get_address(), name="nightly") as nightly,
        Client(cluster.get_address(), name="daily") as daily,
    ):
        nightly.submit(work, "nightly").result()  # the worker is there

        with all_slots_taken(nightly):
            futures = [nightly.submit(work, "nightly") for _ in range(10)]
            futures += [daily.submit_verbose(work, ("daily",), {}, priority=1) for _ in range(2)]
            why = daily.explain(futures[-1])
        print("the last one,", why.splitlines()[0])
        first = in_order(futures)[:3]  # one may have been with the worker already
        print("more priority, 2 tasks behind 10 are among the first three:", first.count("daily") == 2)

        with all_slots_taken(nightly):
            futures = [nightly.submit(work, "nightly") for _ in range(20)]
            futures += [daily.submit(work, "daily") for _ in range(3)]
            daily.explain(futures[-1])  # so it has arrived
        first = in_order(futures)[:10]
        print("equals take turns, 3 tasks behind 20 are among the first ten:", first.count("daily") == 3)

        print("on a GPU:", daily.submit_verbose(work, ("daily",), {}, capabilities={"gpu"}).result()[1])
        lost = daily.submit_verbose(work, ("daily",), {}, capabilities={"tpu"})
        print("on a TPU,", daily.explain(lost).splitlines()[0])
        lost.cancel()


if __name__ == "__main__":
    main()
