"""How well the threads are used where one chain of builds is longer than all others."""

from benchmarks import builds, report, trees

# What has Kiln start images in the order of their names alone; None where it can't.
NO_PRIORITIES = ["--nopriorities"]
MOST_OF_BOUND = 1.05
THREADS = 4
# As much work for each of the other threads as for the one that builds the chain, in pieces of some
# lengths: the hardest case.
LINKS, LINK_SECONDS = 8, 1.5
LEAF_SECONDS = [0.6, 1.0, 0.4, 0.8] * 13
RUNS = 2


def benchmark(bench):
    section = report.Section(
        "A skewed graph: order of builds",
        f"On one base, a chain of {LINKS} images of {LINK_SECONDS} s each, and {len(LEAF_SECONDS)} leaves of "
        f"{min(LEAF_SECONDS)} to {max(LEAF_SECONDS)} s whose names are sorted first; {THREADS} in parallel, classic "
        "builder, with the network of the host. The bound is the shortest time that any order could take: the longest "
        "chain, or the total divided by the threads, whichever is longer, from the durations of the same run. "
        f"The shortest of {RUNS} runs, each with a tree that no build cache knows, and one run of kolla-build, which "
        "builds in the order in which it finds the images.",
    )
    runs = [of_kiln(bench, []) for _ in range(RUNS)]
    section.rows.append(row("by priority", runs, MOST_OF_BOUND))
    kolla = of_kolla(bench)
    section.rows.append(report.within("by priority", "kolla-build", kolla, min(wall for _, wall in runs), None))
    if bench.programs.kiln_knows(NO_PRIORITIES, bench.folder):
        runs = [of_kiln(bench, NO_PRIORITIES) for _ in range(RUNS)]
        section.rows.append(row("by name alone", runs, None))
    else:
        reason = f"Kiln has no {NO_PRIORITIES[0]}"
        section.rows.append(report.not_there("by name alone", "", reason))
    return section


def row(what, runs, most):
    bound, wall = min(runs, key=lambda run: run[1] / run[0])
    return report.within(what, "the bound", bound, wall, most)


def new_tree(bench):
    return builds.new_tree(bench, lambda *place: trees.skewed(*place, LINKS, LINK_SECONDS, LEAF_SECONDS))


def of_kolla(bench):
    """The seconds that kolla-build takes."""
    with new_tree(bench) as (tree, namespace):
        run, _ = builds.kolla(bench, tree, namespace, "--threads", THREADS)
        builds.require_all(bench, tree, namespace)
        return run.wall


def of_kiln(bench, options):
    """The least that this run could have taken, and what it took, in seconds."""
    with new_tree(bench) as (tree, namespace):
        run, summary = builds.kiln(bench, tree, namespace, "--nobuildkit", "--threads", THREADS, *options)
        builds.require_all(bench, tree, namespace)
        seconds = {image["name"]: image["seconds"] for image in summary["built"]}
        return bound(tree.parents, seconds), run.wall


def bound(parents, seconds):
    """What no order can be faster than: the longest chain, or all work shared among the threads."""
    ends = {}
    for image, parent in parents.items():
        ends[image] = seconds[image] + ends.get(parent, 0)
    return max(max(ends.values()), sum(seconds.values()) / THREADS)
