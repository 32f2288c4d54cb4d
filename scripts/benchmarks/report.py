"""What the benchmarks came to, as Markdown."""

import os
import platform
from dataclasses import dataclass, field
from datetime import date
from typing import Optional


@dataclass
class Row:
    """One comparison: Kiln beside something else, and whether it is what it should be. There is
    no target where `target` is empty, and no judgement where `met` is None."""

    what: str
    beside: str
    theirs: str
    ours: str
    ratio: str
    target: str = ""
    met: Optional[bool] = None

    def cells(self):
        met = {True: "yes", False: "**no**", None: ""}[self.met]
        return [self.what, self.beside, self.theirs, self.ours, self.ratio, self.target, met]


HEADINGS = ["", "beside", "that takes", "Kiln takes", "ratio", "target", "met"]


@dataclass
class Section:
    """A benchmark: what was done, and the rows."""

    title: str
    how: str
    rows: list = field(default_factory=list)
    notes: list = field(default_factory=list)

    def markdown(self):
        lines = [f"## {self.title}", "", self.how, ""]
        lines += table(HEADINGS, [row.cells() for row in self.rows])
        for note in self.notes:
            lines += ["", note]
        return "\n".join(lines) + "\n"


def table(headings, rows):
    return ["| " + " | ".join(cells) + " |" for cells in [headings, ["---"] * len(headings), *rows]]


def not_there(what, target, reason):
    return Row(what, "", "", reason, "not there", target)


def times_less(what, beside, theirs, ours, least):
    """A row for which Kiln is to be so many times faster."""
    ratio = theirs / ours
    target = f"at least {least} times less" if least else ""
    met = ratio >= least if least else None
    return Row(what, beside, seconds(theirs), seconds(ours), f"{figure(ratio)} times less", target, met)


def within(what, beside, theirs, ours, most):
    """A row for which Kiln may take so many times as long."""
    ratio = ours / theirs
    target = f"at most {most}" if most else ""
    met = ratio <= most if most else None
    return Row(what, beside, seconds(theirs), seconds(ours), f"{ratio:.3f}", target, met)


def under(what, ours, most):
    """A row for which Kiln may take so many seconds."""
    return Row(what, "", "", seconds(ours), "", f"under {most} s", ours < most)


def figure(ratio):
    return f"{ratio:.0f}" if ratio >= 20 else f"{ratio:.1f}"


def seconds(time):
    return f"{time * 1e3:.1f} ms" if time < 0.1 else f"{time * 1e3:.0f} ms" if time < 1 else f"{time:.1f} s"


def megabytes(size):
    return f"{size / 1e6:.0f} MB"


def machine(engine_version, programs_told):
    """What was measured on, as a list."""
    load = ", ".join(f"{load:.1f}" for load in os.getloadavg())
    facts = [
        ("date", date.today().isoformat()),
        ("processor", f"{cpu_model()}, {os.cpu_count()} cores"),
        ("memory", f"{memory() / 2**30:.0f} GiB"),
        ("kernel", f"{platform.system()} {platform.release()}"),
        ("engine", engine_version or "none"),
        ("programs", programs_told),
        ("load when it began", load),
    ]
    return "\n".join(f"- {name}: {told}" for name, told in facts) + "\n"


def cpu_model():
    with open("/proc/cpuinfo") as file:
        for line in file:
            name, _, value = line.partition(":")
            if name.strip() in ("model name", "Model"):
                return value.strip()
    return platform.machine()


def memory():
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
