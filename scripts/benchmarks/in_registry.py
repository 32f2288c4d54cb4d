"""A run that finds all images unchanged in a registry."""

import os
import socket
import threading

from benchmarks import builds, measure, programs, report, trees

UNCHANGED = ["--push", "--skip-unchanged=registry"]
MOST_SECONDS = 0.4
MOST_FIRST = 2
RUNS = 5
VARIABLE = "KILN_TEST_REGISTRY"
METHODS = [b"GET /v2", b"HEAD /v2", b"PUT /v2", b"POST /v2"]


class Counter:
    """A TCP proxy in front of a registry that counts connections and requests."""

    def __init__(self, registry):
        host, port = registry.rsplit(":", 1)
        self.registry = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.lock = threading.Lock()
        self.reset()
        threading.Thread(target=self.accept, daemon=True).start()

    def reset(self):
        self.connections = 0
        self.requests = dict.fromkeys(METHODS, 0)

    def accept(self):
        while True:
            client, _ = self.listener.accept()
            with self.lock:
                self.connections += 1
            server = socket.create_connection(self.registry)
            for pair in [(client, server, True), (server, client, False)]:
                threading.Thread(target=self.copy, args=pair, daemon=True).start()

    def copy(self, source, target, counts):
        """Passes on what one side sends. A request without a body arrives as a whole."""
        source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while data := source.recv(1 << 16):
                if counts:
                    self.count(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()

    def count(self, data):
        with self.lock:
            for method in METHODS:
                self.requests[method] += data.startswith(method)


def benchmark(bench):
    section = report.Section(
        f"Unchanged in a registry: {builds.IMAGES} images",
        f"The same family as above, built and pushed to a registry on this machine. {' '.join(UNCHANGED)} asks it for "
        f"all images (shortest of {RUNS} runs). A proxy in front of it counts requests and connections.",
    )
    registry = os.environ.get(VARIABLE)
    if not registry:
        section.rows.append(report.not_there("unchanged in a registry", "", f"{VARIABLE} is not set"))
        return section
    counter = Counter(registry)
    options = ["--registry", counter.address, *UNCHANGED]
    with builds.new_tree(bench, family) as (tree, namespace):
        builds.kiln(bench, tree, namespace, *options)
        first, first_connections = count(bench, counter, tree, namespace, options, "first")
        times = []
        for _ in range(RUNS):
            requests, connections = count(bench, counter, tree, namespace, options, "later", times)
        for image in tree.leaves_first():
            bench.engine.remove([f"{counter.address}/{programs.reference(namespace, image)}"])
    heads = requests[METHODS[1]]
    others = sum(requests.values()) - heads
    most = MOST_FIRST * builds.IMAGES
    section.rows += [
        report.under("unchanged in a registry", min(times), MOST_SECONDS),
        counted("requests, first time", sum(first.values()), f"at most {most}", sum(first.values()) <= most),
        counted("requests, later", heads + others, f"{builds.IMAGES} HEAD", (heads, others) == (builds.IMAGES, 0)),
        counted(
            "connections",
            max(connections, first_connections),
            f"at most {builds.THREADS}",
            max(connections, first_connections) <= builds.THREADS,
        ),
    ]
    return section


def family(*place):
    return trees.family(*place, builds.GROUPS, builds.LEAVES)


def count(bench, counter, tree, namespace, options, what, times=None):
    """The requests and connections of a run that builds nothing."""
    counter.reset()
    run, summary = builds.kiln(bench, tree, namespace, *options)
    if summary["built"]:
        raise measure.Failed(f"the {what} run with {options} built {len(summary['built'])} images")
    if times is not None:
        times.append(run.wall)
    return dict(counter.requests), counter.connections


def counted(what, number, target, met):
    return report.Row(what, "", "", str(number), "", target, met)
