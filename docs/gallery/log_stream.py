"""A stream without end: what comes is parsed in parallel, results are used as they are
there, and the source is read no faster than that."""

import itertools
import random
import re
from collections import Counter

from scaler import Client

LINE = re.compile(r'(?P<host>\S+) "GET (?P<page>\S+)" (?P<status>\d{3})')
AHEAD, ENOUGH, LINES = 64, 1_000, 50


class Source:
    """Batches of lines as a web server may write them, for ever; it counts what was
    taken."""

    def __init__(self):
        self.taken = 0

    def __iter__(self):
        chance = random.Random(3)
        while True:
            self.taken += 1
            yield [line(chance) for _ in range(LINES)]


def line(chance):
    page = chance.choice(("/", "/about", "/buy", "/search"))
    status = chance.choices((200, 404, 500), (95, 4, 1))[0]
    return f'10.0.0.{chance.randrange(9)} "GET {page}" {status}'


def errors_of(lines):
    """How often which page failed."""
    requests = map(LINE.fullmatch, lines)
    return Counter(request["page"] for request in requests if request["status"] == "500")


def main():
    source, failed, ahead = Source(), Counter(), 0
    with Client() as client:
        batches = client.imap_unordered(errors_of, source, buffersize=AHEAD)
        for number, part in enumerate(itertools.islice(batches, ENOUGH), 1):
            failed += part
            ahead = max(ahead, source.taken - number)
        batches.close()
    print(f"{ENOUGH * LINES:,} requests, {failed.total() / (ENOUGH * LINES):.0%} of them failed")
    print("on the pages", *sorted(failed))
    print(f"read at most {AHEAD} batches ahead: {ahead <= AHEAD}")


if __name__ == "__main__":
    main()
