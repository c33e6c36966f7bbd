"""Extract, transform, load: a graph in which each step begins as soon as what it needs is
there, and results that nobody needs any more are freed."""

import csv
import io
import random
import sqlite3
import tempfile
from collections import defaultdict
from pathlib import Path

from scaler import Client

MONTHS = "2026-01", "2026-02", "2026-03"
RATES = {"EUR": 1.0, "USD": 0.9, "CHF": 1.05}


def write_exports(directory):
    """What the shop's system exports: a file a month, some lines of which are of no use."""
    chance = random.Random(5)
    for month in MONTHS:
        with (directory / f"{month}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["day", "customer", "amount", "currency"])
            for _ in range(2_000):
                amount = "" if chance.random() < 0.01 else f"{chance.uniform(5, 200):.2f}"
                row = f"{month}-{chance.randrange(1, 29):02}", chance.randrange(300), amount, chance.choice(list(RATES))
                writer.writerow(row)


def extract(path):
    return list(csv.DictReader(io.StringIO(Path(path).read_text())))


def clean(rows):
    return [row for row in rows if row["amount"]]


def convert(rows, rates):
    return [(row["day"], int(row["customer"]), float(row["amount"]) * rates[row["currency"]]) for row in rows]


def by_customer(rows):
    sums = defaultdict(float)
    for _, customer, amount in rows:
        sums[customer] += amount
    return dict(sums)


def load(database, sums):
    """One task writes, so that the database sees one writer."""
    with sqlite3.connect(database) as connection:
        connection.execute("CREATE TABLE revenue (month TEXT, customer INTEGER, amount REAL)")
        for month, part in zip(MONTHS, sums, strict=True):
            rows = [(month, customer, amount) for customer, amount in part.items()]
            connection.executemany("INSERT INTO revenue VALUES (?, ?, ?)", rows)
    return sum(map(len, sums))


def plan(directory, database):
    graph = {"rates": RATES}
    for month in MONTHS:
        graph["rows", month] = (extract, str(directory / f"{month}.csv"))
        graph["good", month] = (clean, ("rows", month))
        graph["euros", month] = (convert, ("good", month), "rates")
        graph["sums", month] = (by_customer, ("euros", month))
    graph["loaded"] = (load, database, [("sums", month) for month in MONTHS])
    return graph


def main():
    with tempfile.TemporaryDirectory() as name, Client() as client:
        directory, database = Path(name), str(Path(name) / "shop.sqlite")
        write_exports(directory)
        loaded = client.get(plan(directory, database), ["loaded"])["loaded"]
        with sqlite3.connect(database) as connection:
            months = connection.execute(
                "SELECT month, SUM(amount) FROM revenue GROUP BY month ORDER BY month"
            ).fetchall()
    print(f"{loaded} sums loaded")
    for month, amount in months:
        print(f"{month}: {amount:,.0f} EUR")


if __name__ == "__main__":
    main()
