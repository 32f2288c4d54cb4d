"""Runs programs and measures them."""

import os
import subprocess
import tempfile
import time
from dataclasses import dataclass


class Failed(Exception):
    """A program did not do what it was to do."""


@dataclass
class Run:
    """What a run of a program took: seconds on the clock and of the processor (user and system
    together), and the most memory in bytes. That counts from what this program takes itself, some
    20 MB, since the system counts a process from before it becomes another program."""

    wall: float
    processor: float
    memory: int
    output: str


def environment():
    """The environment without what would change what Kiln does."""
    return {name: value for name, value in os.environ.items() if not name.startswith("KILN_")}


def run(command, folder):
    """Runs a command in a folder; its standard error is shown only where it fails."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+", errors="replace") as error:
        begun = time.monotonic()
        process = subprocess.Popen(
            [str(word) for word in command], cwd=folder, env=environment(), stdout=out, stderr=error
        )
        _, status, used = os.wait4(process.pid, 0)
        wall = time.monotonic() - begun
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            error.seek(0)
            told = "".join(error.readlines()[-20:])
            raise Failed(f"{command[0]} ended with {process.returncode}\n{told}")
        out.seek(0)
        return Run(wall, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, out.read())


def alternate(measured, rounds):
    """Calls each of the functions in turn, so often as `rounds` says, and returns the best of the
    runs of each: whatever else the machine does makes a run longer, and never shorter."""
    runs = {name: [] for name in measured}
    for turn in range(max(rounds.values())):
        for name, once in measured.items():
            if turn < rounds[name]:
                runs[name].append(once())
    return {name: best(of_name) for name, of_name in runs.items()}


def best(runs):
    """The least of each figure."""
    return Run(
        min(run.wall for run in runs),
        min(run.processor for run in runs),
        min(run.memory for run in runs),
        runs[0].output,
    )
