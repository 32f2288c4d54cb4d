"""A second run with nothing changed."""

from benchmarks import builds, measure, report

# What has Kiln leave out images that are as they would be built.
UNCHANGED = ["--skip-unchanged"]
FASTER = 100
MOST_SECONDS = 1
RUNS = 5


def benchmark(bench):
    section = report.Section(
        f"Nothing changed: {builds.IMAGES} images, the second run",
        f"One base, {builds.GROUPS} groups, {builds.LEAVES} leaves in each: every image adds a small file to its "
        f"parent. Each program has built all of them; {' '.join(UNCHANGED)} is Kiln's option to skip them (shortest of "
        f"{RUNS} runs). kolla-build labels every image with the time of the run, so that its second run finds nothing "
        "in the build cache. With --skip-existing both only ask which images exist.",
    )
    knows = bench.programs.kiln_knows(UNCHANGED, bench.folder)
    ours, ours_existing = of_kiln(bench, knows)
    theirs, theirs_existing = of_kolla(bench)
    if knows:
        section.rows += [
            report.times_less("nothing changed", "kolla-build's second run", theirs, ours, FASTER),
            report.under("nothing changed", ours, MOST_SECONDS),
        ]
    else:
        reason = f"Kiln has no {UNCHANGED[0]}"
        section.rows.append(report.not_there("nothing changed", f"at least {FASTER} times less", reason))
        section.rows.append(report.not_there("nothing changed", f"under {MOST_SECONDS} s", reason))
    section.rows += [
        report.times_less("--skip-existing", "kolla-build with it", theirs_existing, ours_existing, 0),
        report.times_less("--skip-existing", "kolla-build's second run", theirs, ours_existing, 0),
    ]
    return section


def of_kiln(bench, knows):
    """The seconds of a run that finds nothing changed, and of one that only asks what exists."""
    with builds.family(bench) as (tree, namespace):
        builds.kiln(bench, tree, namespace)
        builds.require_all(bench, tree, namespace)
        unchanged = least(bench, tree, namespace, UNCHANGED) if knows else None
        return unchanged, least(bench, tree, namespace, ["--skip-existing"])


def least(bench, tree, namespace, options):
    """The least seconds of some runs of Kiln's that build nothing."""
    times = []
    for _ in range(RUNS):
        run, summary = builds.kiln(bench, tree, namespace, *options)
        if summary["built"]:
            raise measure.Failed(f"with {options} Kiln built {len(summary['built'])} images")
        times.append(run.wall)
    return min(times)


def of_kolla(bench):
    """The seconds of a second run, and of one that only asks what exists."""
    with builds.family(bench) as (tree, namespace):
        builds.kolla(bench, tree, namespace)
        former = builds.require_all(bench, tree, namespace)
        second, _ = builds.kolla(bench, tree, namespace)
        # Those of the first run have lost their names to those of the second.
        bench.engine.remove(former)
        existing, summary = builds.kolla(bench, tree, namespace, "--skip-existing")
        if summary["built"]:
            raise measure.Failed("kolla-build built images that exist")
        return second.wall, existing.wall
