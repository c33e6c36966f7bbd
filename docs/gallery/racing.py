"""A search for hyperparameters that stops the losers: all fits are submitted at once, those
of settings that fall behind are cancelled, also while they run."""

import numpy as np

from scaler import Client

FOLDS, TOO_FAR = 5, 0.03
DEGREES = [1, 3, 5, 9, 15]
SHRINKAGES = [1e-6, 1e-2, 10.0]


def samples():
    """A curve, measured badly."""
    random = np.random.default_rng(7)
    x = random.uniform(-1, 1, 150)
    return x, np.sin(3 * x) + random.normal(0, 0.3, x.size)


def error_of(setting, fold, x, y):
    """Fit a polynomial to all folds but one, and look how far off it is there."""
    degree, shrinkage = setting
    powers = x[:, None] ** np.arange(degree + 1)
    here = np.arange(x.size) % FOLDS == fold
    a, b = powers[~here], y[~here]
    weights = np.linalg.solve(a.T @ a + shrinkage * np.eye(degree + 1), a.T @ b)
    return float(np.sqrt(np.mean((powers[here] @ weights - y[here]) ** 2)))


def race(client, settings):
    """Fold by fold: who is much worse than the best so far needs no more folds."""
    x, y = samples()
    futures = {
        (setting, fold): client.submit_verbose(error_of, (setting, fold, x, y), {}, priority=FOLDS - fold)
        for setting in settings
        for fold in range(FOLDS)
    }
    racing, errors = set(settings), {setting: [] for setting in settings}
    for fold in range(FOLDS):
        for setting in racing:
            errors[setting].append(futures[setting, fold].result())
        mean = {setting: np.mean(errors[setting]) for setting in racing}
        losers = {setting for setting in racing if mean[setting] > (1 + TOO_FAR) * min(mean.values())}
        for setting in losers:
            for later in range(fold + 1, FOLDS):
                futures[setting, later].cancel()
        racing -= losers
        print(f"after fold {fold + 1}: {len(losers)} out, {len(racing)} left")
    return min(racing, key=mean.__getitem__), min(mean.values())


def main():
    settings = [(degree, shrinkage) for degree in DEGREES for shrinkage in SHRINKAGES]
    with Client() as client:
        (degree, shrinkage), error = race(client, settings)
    print(f"best of {len(settings)}: degree {degree}, shrinkage {shrinkage}; it is off by {error:.2f}")


if __name__ == "__main__":
    main()
