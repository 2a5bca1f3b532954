"""`oneshot compare-strategies` as a file, for W&B's agent and SLURM."""

from oneshot.cli.entry import script

if __name__ == "__main__":
    script(__file__)
