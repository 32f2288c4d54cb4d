"""The two programs that are compared, and how to have both read the same tree."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure

# Has kolla-build read another tree of templates: it knows no option for that.
KOLLA_ON_TREE = Path(__file__).resolve().parent / "kolla_on_tree.py"

# The options of both that keep a tree of trees.py apart from all other images.
BASE = ["--base", "debian", "--base-image", "debian", "--base-tag", "bookworm"]
TAG = "bench"


@dataclass
class Programs:
    """Kiln's program, and the virtual environment of a kolla-build."""

    kiln_program: Path
    release: Path

    @property
    def dialect(self):
        return self.release.name

    @property
    def package(self):
        """The Python package of the release."""
        (package,) = self.release.glob("lib/python*/site-packages/kolla")
        return package

    @property
    def repositories(self):
        """The release's table of package repositories, which a tree alone does not have."""
        return self.package / "template/repos.yaml"

    def kiln_on_release(self, *options):
        """A command of Kiln's for the release's own tree."""
        return [self.kiln_program, "build", "--tree", self.release, *options]

    def kolla_on_release(self, *options):
        return [self.release / "bin/kolla-build", *options]

    def kiln(self, tree, namespace, *options):
        """A command of Kiln's for a tree of trees.py."""
        where = ["--tree", tree / "docker", "--dialect", self.dialect, "--repos-yaml", self.repositories]
        return [self.kiln_program, "build", *where, *naming(namespace), *options]

    def kolla(self, tree, namespace, *options):
        start = [self.release / "bin/python", KOLLA_ON_TREE, tree]
        return [*start, *naming(namespace), *options]

    def kiln_knows(self, options, folder):
        """Whether Kiln has these options yet."""
        try:
            measure.run([self.kiln_program, "build", "--base", "debian", "--list-images", *options], folder)
        except measure.Failed:
            return False
        return True


def naming(namespace):
    return [*BASE, "--namespace", namespace, "--tag", TAG]


def reference(namespace, image):
    """What an image of a tree of trees.py is called in the engine."""
    return f"{namespace}/{image}:{TAG}"


def listed(output):
    """The names that --list-images prints."""
    return {line.split(" : ")[1] for line in output.splitlines() if " : " in line}
