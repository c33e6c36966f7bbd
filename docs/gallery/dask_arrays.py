"""dask's arrays, computed on Scaler: a straight line through two million numbers that are
never in one place."""

import dask
import dask.array as da

from scaler import Client

SAMPLES, CHUNK, FEATURES = 250_000, 50_000, 8


def main():
    random = da.random.default_rng(0)
    inputs = random.normal(size=(SAMPLES, FEATURES), chunks=(CHUNK, FEATURES))
    truth = da.arange(1, FEATURES + 1, chunks=FEATURES)
    outputs = inputs @ truth + random.normal(0, 0.1, size=SAMPLES, chunks=CHUNK)

    gram, moment = inputs.T @ inputs, inputs.T @ outputs  # nothing is computed yet: these are graphs
    fit = da.linalg.solve(gram, moment)
    rest = da.sqrt(((inputs @ fit - outputs) ** 2).mean())

    with Client() as client, dask.config.set(scheduler=client.dask_get):
        weights, error = dask.compute(fit, rest)
    print(f"{SAMPLES:,} samples in {inputs.npartitions} chunks")
    print("weights:", *(f"{weight:.2f}" for weight in weights))
    print(f"what is left is noise of {error:.2f}")


if __name__ == "__main__":
    main()
