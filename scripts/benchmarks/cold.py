"""All images from nothing."""

from benchmarks import builds, programs, report

MOST_OF_KOLLA = {"classic": 0.25, "BuildKit": 0.15}
MOST_OF_BOUND = 1.15
ROUNDS = 2
BUILDERS = {"classic": ["--nobuildkit"], "BuildKit": []}
BARE = "the minimal client"
LABELLED = "the minimal client, with a label"
BUILDER_TOLD = {"classic": "the classic builder", "BuildKit": "BuildKit"}


def benchmark(bench):
    section = report.Section(
        f"From an empty cache: {builds.IMAGES} images, {builds.THREADS} in parallel",
        "The same tree. Every run gets a new tree with a random word in all files, so that the engine has neither "
        "images nor a build cache for it. Kiln is compared with kolla-build with the classic builder, and with a "
        "minimal client that has the packed contexts and the order, and posts each of them to the engine's /build when "
        "its parent is built: this is the time that the engine itself needs. BuildKit unpacks such a context in a "
        "process of its own for every build; from Kiln it requests the files in the session of the build. "
        "For the classic builder every label is one more step, also the one with Kiln's fingerprint: so it is measured "
        "without a label and with one. "
        f"{ROUNDS} rounds with a run of each. The table has the shortest run beside kolla-build, and beside the "
        "minimal client the two runs of the round that took least in total, since they follow one another.",
    )
    times = {}
    for _ in range(ROUNDS):
        for key, once in measured(bench).items():
            times.setdefault(key, []).append(once())
    least = {key: min(of_key) for key, of_key in times.items()}
    for builder, most in MOST_OF_KOLLA.items():
        kolla, least_of_ours = least["kolla-build", "classic"], least["kiln", builder]
        section.rows.append(report.within(BUILDER_TOLD[builder], "kolla-build", kolla, least_of_ours, most))
        for peer in [BARE, LABELLED]:
            if (peer, builder) in times:
                bare, ours = min(zip(times[peer, builder], times["kiln", builder]), key=sum)
                section.rows.append(report.within(BUILDER_TOLD[builder], peer, bare, ours, MOST_OF_BOUND))
    return section


def measured(bench):
    """All that is measured in a round: who builds, and with which builder."""
    return {
        ("kolla-build", "classic"): lambda: of_kolla(bench),
        (BARE, "classic"): lambda: of_bare_client(bench, "classic"),
        ("kiln", "classic"): lambda: of_kiln(bench, "classic"),
        (LABELLED, "classic"): lambda: of_bare_client(bench, "classic", label=True),
        (BARE, "BuildKit"): lambda: of_bare_client(bench, "BuildKit"),
        ("kiln", "BuildKit"): lambda: of_kiln(bench, "BuildKit"),
    }


def of_kolla(bench):
    with builds.family(bench) as (tree, namespace):
        run, _ = builds.kolla(bench, tree, namespace)
        builds.require_all(bench, tree, namespace)
        return run.wall


def of_kiln(bench, builder):
    with builds.family(bench) as (tree, namespace):
        run, _ = builds.kiln(bench, tree, namespace, *BUILDERS[builder])
        builds.require_all(bench, tree, namespace)
        return run.wall


def of_bare_client(bench, builder, label=False):
    with builds.family(bench) as (tree, namespace):
        contexts = builds.contexts(bench, tree, namespace)

        def name(image):
            return programs.reference(namespace, image)

        took = bench.engine.build_all(contexts, tree.parents, name, builds.THREADS, builder == "BuildKit", label)
        builds.require_all(bench, tree, namespace)
        return took
