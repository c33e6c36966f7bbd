"""scikit-learn's grid search, on a cluster instead of this process: one line around the
fit."""

import joblib
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import scaler.compat.joblib  # noqa: F401  makes the backend "scaler" known to joblib
from scaler import Client

GRID = {"svc__C": [0.1, 1, 10], "svc__gamma": [0.001, 0.01, 0.1]}


def main():
    images, digits = load_digits(return_X_y=True)
    train_images, test_images, train_digits, test_digits = train_test_split(
        images, digits, train_size=500, random_state=0
    )
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), GRID, cv=3)
    with Client() as client, joblib.parallel_config("scaler", client=client):
        search.fit(train_images, train_digits)
    best = {name.removeprefix("svc__"): value for name, value in search.best_params_.items()}
    print(f"{len(search.cv_results_['params'])} settings, three fits each; the best: {best}")
    print(f"digits it reads right: {search.score(test_images, test_digits):.0%}")


if __name__ == "__main__":
    main()
