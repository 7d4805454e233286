"""Compares early stopping (ASHA) with random search: the epochs that each spends for its best score.

Runs a sweep of 27 trials twice, learning rates with weight decays, once with `kind = "asha"` and once in full, which is what random
search spends: nobody knows the best score before. Also prints the epochs until random search happens to reach the score of early
stopping, in the mean over all orders of its trials: the first of k good ones among n comes at place (n + 1) / (k + 1).

    benches/asha.py PHOTOS WEIGHTS [--runs DIR] [--epochs 27] [--min-epochs 3] [--grid]
"""

import argparse
import csv
import pathlib
import subprocess

RUNNER = pathlib.Path(__file__).resolve().parent.parent / "target/release/runner"

BASE = """\
[data]
root = "{photos}"
[model]
arch = "squeezenet1_1"
weights = "{weights}"
fresh = ["classifier"]
[training]
metric = "valid_loss"
[[phase]]
name = "head"
epochs = {epochs}
trainable = ["classifier"]
"""

SWEEP = """\
base = "base.toml"
{draws}
{search}
[axes]
{axes}
"""

DRAWS = ('method = "random"\nmax_trials = 27', """\
optimizer.lr = { log_uniform = [1e-5, 1e-1] }
optimizer.weight_decay = { log_uniform = [1e-5, 1e-1] }
""")

GRID = ("", """\
optimizer.lr = [1e-5, 3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
optimizer.weight_decay = [0.0, 1e-4, 1e-2]
""")

ASHA = """\
[search]
kind = "asha"
min_epochs = {min_epochs}
"""


def leaderboard(folder: pathlib.Path, name: str) -> list[dict[str, str]]:
    subprocess.run([RUNNER, "sweep", f"{name}.toml"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
    with (folder / f"runs/sweep-{name}/leaderboard.csv").open() as table:
        return list(csv.DictReader(table))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos")
    parser.add_argument("weights")
    parser.add_argument("--runs", default="runs/asha", type=pathlib.Path, help="the folder for both sweeps")
    parser.add_argument("--epochs", default=27, type=int)
    parser.add_argument("--min-epochs", default=3, type=int)
    parser.add_argument("--grid", action="store_true", help="nine learning rates with three decays instead of draws")
    args = parser.parse_args()
    draws, axes = GRID if args.grid else DRAWS
    args.runs.mkdir(parents=True, exist_ok=True)
    paths = {"photos": pathlib.Path(args.photos).resolve(), "weights": pathlib.Path(args.weights).resolve()}
    (args.runs / "base.toml").write_text(BASE.format(epochs=args.epochs, **paths))
    for name, search in [("early", ASHA.format(min_epochs=args.min_epochs)), ("full", "")]:
        (args.runs / f"{name}.toml").write_text(SWEEP.format(draws=draws, search=search, axes=axes))
    early, full = (leaderboard(args.runs, name) for name in ["early", "full"])
    spent = sum(int(row["epochs"]) for row in early)
    best = float(early[0]["valid_loss"])
    n_good = sum(float(row["valid_loss"]) <= best for row in full)
    everything = len(full) * args.epochs
    lucky = (len(full) + 1) / (n_good + 1) * args.epochs
    print(f"best loss     {best:.4f} with early stopping, {float(full[0]['valid_loss']):.4f} of all trials in full")
    print(f"epochs        {spent} with early stopping, {everything} in full: {spent / everything:.2f}")
    print(f"first hit     random search reaches the loss of early stopping after {lucky:.0f} epochs in the mean ({n_good} good trials): {spent / lucky:.2f}")


if __name__ == "__main__":
    main()
