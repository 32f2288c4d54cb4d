"""What planning a whole tree of Kolla costs."""

import re
import shutil
import tempfile

from benchmarks import measure, programs, report

BASE = "ubuntu"
FASTER = 200
OVER_HASHING = 3
# The files beside the templates that Kiln reads.
TABLES = [
    "common/config.py",
    "common/sources.yaml",
    "common/users.py",
    "image/build.py",
    "image/unbuildable.py",
    "template/repos.yaml",
]
ROUNDS = {"kolla-build": 3, "kiln": 300, "hash": 300}


def benchmark(bench):
    section = report.Section(
        f"Planning: the tree of kolla {bench.programs.dialect} on {BASE}",
        "Both programs list all images, and write all Dockerfiles with their contexts to a new folder. "
        f"The shortest of {ROUNDS['kiln']} runs of Kiln and {ROUNDS['kolla-build']} of kolla-build, in turn. "
        "Hashing is one process, `sha256sum`, that hashes the files that Kiln reads for the task: the templates "
        "and tables to list images, the whole tree to write contexts (Kiln also writes them).",
    )
    whole, tables = files(bench.programs.package)
    templates = [path for path in whole if path.suffix == ".j2"]
    compare(section, bench, "listing images", ["--list-images"], templates + tables)
    counted = instructions(bench.programs.kiln_on_release("--base", BASE, "--list-images"), bench.folder)
    if counted:
        section.notes.append(f"To list them Kiln takes {counted:.0f} million instructions, as valgrind counts.")
    compare(section, bench, "writing contexts", ["--template-only"], whole + tables)
    return section


def compare(section, bench, what, options, hashed):
    """Adds the rows of one way of planning."""
    options = ["--base", BASE, *options]
    release = bench.programs
    best = measure.alternate(
        {
            "kolla-build": lambda: plan(bench, release.kolla_on_release(*options)),
            "kiln": lambda: plan(bench, release.kiln_on_release(*options)),
            "hash": lambda: measure.run(["sha256sum", *hashed], bench.folder),
        },
        ROUNDS,
    )
    theirs, ours, hashing = best["kolla-build"], best["kiln"], best["hash"]
    images = programs.listed(ours.output)
    if images != programs.listed(theirs.output):
        raise measure.Failed("the two list different images")
    if images:
        section.notes.append(f"Both list the same {len(images)} images.")
    section.rows += [
        report.times_less(f"{what}, processor", "kolla-build", theirs.processor, ours.processor, FASTER),
        report.times_less(f"{what}, clock", "kolla-build", theirs.wall, ours.wall, FASTER),
        report.within(
            f"{what}, processor", f"hashing {len(hashed)} files", hashing.processor, ours.processor, OVER_HASHING
        ),
        report.within(f"{what}, clock", f"hashing {len(hashed)} files", hashing.wall, ours.wall, OVER_HASHING),
    ]


def plan(bench, command):
    """Runs a command that plans, with a new work folder where it writes to one."""
    if "--template-only" not in command:
        return measure.run(command, bench.folder)
    target = bench.folder / "work"
    run = measure.run([*command, "--work-dir", target], bench.folder)
    shutil.rmtree(target)
    return run


def instructions(command, folder):
    """How many instructions a command takes, in millions; None without valgrind."""
    if not shutil.which("valgrind"):
        return None
    with tempfile.NamedTemporaryFile("r") as out:
        measure.run(["valgrind", "--tool=callgrind", f"--callgrind-out-file={out.name}", *command], folder)
        return int(re.search(r"^(?:summary|totals): (\d+)", out.read(), re.MULTILINE)[1]) / 1e6


def files(package):
    """The files of the tree in a release's package, and those beside it that hold tables."""
    tree = sorted(path for path in (package / "docker").rglob("*") if path.is_file())
    return tree, [package / table for table in TABLES]
