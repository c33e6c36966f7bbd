"""A tree search in which tasks submit tasks: in how many ways can n queens stand without
attacking each other?"""

from scaler import Client

SPLIT = 2
"""Rows down to which each branch is a task of its own; below it is searched here, since
such small tasks would not pay."""


def free_columns(size, queens):
    """Columns of the next row that no queen attacks. ``queens`` has the column of each row
    so far."""
    row = len(queens)
    return [
        column
        for column in range(size)
        if all(column != other and abs(column - other) != row - above for above, other in enumerate(queens))
    ]


def count(size, queens):
    """How many ways there are to go on from here, searched in this process."""
    if len(queens) == size:
        return 1
    return sum(count(size, (*queens, column)) for column in free_columns(size, queens))


def count_in_tasks(client, size, queens=()):
    """The same with a task for each branch. It waits for its children; meanwhile its slot
    runs them, or other tasks."""
    if len(queens) == SPLIT:
        return count(size, queens)
    branches = [client.submit(count_in_tasks, client, size, (*queens, column)) for column in free_columns(size, queens)]
    return sum(client.gather(branches))


def main():
    with Client() as client:
        for size in range(4, 9):
            print(f"{size} queens: {client.submit(count_in_tasks, client, size).result()} ways")


if __name__ == "__main__":
    main()
