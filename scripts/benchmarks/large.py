"""How planning grows with the tree."""

from benchmarks import measure, programs, report, trees

SIZES = [1000, 2000, 5000, 10000]
LEAVES = 99  # of a group
MOST_SECONDS = 2
MOST_MEMORY = 500e6
# What an image may cost in the largest tree, beside what it costs in the smallest.
GROWTH = 1.1
ROUNDS = 5
# kolla-build is measured on the smallest and the largest tree alone.
OF_KOLLA = [SIZES[0], SIZES[-1]]
ROUNDS_OF_KOLLA = 2


def benchmark(bench):
    section = report.Section(
        f"Large trees: up to {SIZES[-1]:,} images",
        f"--list-images of generated trees: one base, groups built on it, {LEAVES} leaves in each. The shortest of "
        f"{ROUNDS} runs of Kiln and {ROUNDS_OF_KOLLA} of kolla-build, in turn over the sizes.",
    )
    made = {size: trees.family(bench.folder / f"tree{size}", "", size // (LEAVES + 1), LEAVES) for size in SIZES}
    measured = {("kiln", size): listing(bench, bench.programs.kiln, made[size]) for size in SIZES}
    measured |= {("kolla-build", size): listing(bench, bench.programs.kolla, made[size]) for size in OF_KOLLA}
    rounds = {"kiln": ROUNDS, "kolla-build": ROUNDS_OF_KOLLA}
    best = measure.alternate(measured, {key: rounds[key[0]] for key in measured})
    for size in OF_KOLLA:
        if len({frozenset(programs.listed(best[name, size].output)) for name in rounds}) > 1:
            raise measure.Failed("the two list different images")
    section.rows = rows(best, {size: len(made[size].parents) for size in SIZES})
    return section


def listing(bench, command, tree):
    """Measures the listing of a tree when it is called."""
    return lambda: measure.run(command(tree.folder, "large", "--list-images"), bench.folder)


def rows(best, count):
    """The rows of the table."""
    found = []
    for size in OF_KOLLA:
        what, ours, kolla = f"{count[size]:,} images", best["kiln", size], best["kolla-build", size]
        found += [
            report.times_less(f"{what}, processor", "kolla-build", kolla.processor, ours.processor, 0),
            report.times_less(f"{what}, clock", "kolla-build", kolla.wall, ours.wall, 0),
        ]
    largest = best["kiln", SIZES[-1]]
    return [
        *found,
        *(grown(best, count, size) for size in SIZES[1:]),
        report.under(f"{count[SIZES[-1]]:,} images, clock", largest.wall, MOST_SECONDS),
        memory(largest, count[SIZES[-1]]),
    ]


def grown(best, count, size):
    """What an image costs in a tree of this size, beside one of the smallest tree."""

    def per_image(size):
        return best["kiln", size].processor / count[size]

    growth = per_image(size) / per_image(SIZES[0])
    return report.Row(
        f"{count[size]:,} images, processor, each",
        f"{count[SIZES[0]]:,} images",
        f"{per_image(SIZES[0]) * 1e6:.0f} µs",
        f"{per_image(size) * 1e6:.0f} µs",
        f"{growth:.2f}",
        f"at most {GROWTH}",
        growth <= GROWTH,
    )


def memory(run, count):
    target = f"under {report.megabytes(MOST_MEMORY)}"
    told = report.megabytes(run.memory)
    return report.Row(f"{count:,} images, memory", "", "", told, "", target, run.memory < MOST_MEMORY)
