"""Functions by name, as clients in other languages call them: nothing is pickled, and
workers run only what they were told to allow."""

import numpy as np

from scaler import Client, FunctionNotAllowedError, SchedulerClusterCombo

ALLOWED = ["statistics:*", "zlib:crc32", "numpy:percentile", "builtins:divmod"]


def main():
    with (
        SchedulerClusterCombo(n_workers=2, allow_functions=ALLOWED, logging_level="ERROR") as cluster,
        Client(cluster.get_address()) as client,
    ):
        # What goes over the wire is this text, and the arguments as MessagePack.
        print(client.submit_by_name("statistics:fmean", [2, 3, 7]).result())
        print(client.submit_by_name("statistics:quantiles", [1, 2, 3, 4], n=2).result())
        print(client.map_by_name("zlib:crc32", [b"one", b"two"]))
        print(client.submit_by_name("builtins:divmod", 17, 5).result(), "is a list: there are no tuples in MessagePack")

        prices = np.arange(101.0)  # arrays travel as bytes with a type and a shape
        print(client.submit_by_name("numpy:percentile", prices, [5, 95]).result().tolist())

        error = client.submit_by_name("builtins:divmod", 1, 0).exception()
        print(f"{error.type_name}: {error.message}")
        for future in (client.submit_by_name("os:system", "echo never"), client.submit(print, "as pickled code")):
            assert isinstance(future.exception(), FunctionNotAllowedError)
            print(str(future.exception()).partition(";")[0])


if __name__ == "__main__":
    main()
