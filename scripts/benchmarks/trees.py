"""Makes trees of templates as Kolla lays them out, which both programs read."""

from dataclasses import dataclass, field
from pathlib import Path

ROOT = "base"


@dataclass
class Tree:
    """A tree in `folder/docker`, and the parent of each of its images (None for the base)."""

    folder: Path
    parents: dict = field(default_factory=dict)

    def add(self, path, parent, instructions, files=()):
        """Adds the image in the folder `path` of the tree."""
        folder = self.folder / "docker" / path
        folder.mkdir(parents=True)
        start = "{{ base_image }}:{{ base_distro_tag }}"
        if parent is not None:
            start = "{{ namespace }}/{{ image_prefix }}" + parent + ":{{ tag }}"
        (folder / "Dockerfile.j2").write_text(f"FROM {start}\n{instructions}\n")
        for name, text in files:
            (folder / name).write_text(text)
        self.parents[folder.name] = parent

    def leaves_first(self):
        """The images, each before what it is built on."""
        return list(reversed(self.parents))


def family(folder, word, groups, leaves):
    """One base, groups built on it, and leaves on each of these: every image is its parent and a
    small file. The word is in all files, so that no build cache knows any of them."""
    tree = Tree(folder)

    def add(path, parent):
        name = path.rsplit("/", 1)[-1]
        tree.add(path, parent, f"COPY data /data/{name}", [("data", f"{name} {word}\n")])

    add(ROOT, None)
    for group in range(groups):
        of_group = f"group{group:03}"
        add(f"{of_group}/{of_group}-base", ROOT)
        for leaf in range(leaves):
            add(f"{of_group}/{of_group}-leaf{leaf:03}", f"{of_group}-base")
    return tree


def skewed(folder, word, links, link, leaves):
    """A chain of so many links, and leaves, all on one base. Every link sleeps for `link` seconds,
    and every leaf for one of the durations `leaves`; the chain comes last by name."""
    tree = Tree(folder)
    tree.add(ROOT, None, "COPY data /data/base", [("data", f"{word}\n")])
    for number, duration in enumerate(leaves):
        tree.add(f"leaf{number:03}", ROOT, f"RUN sleep {duration}")
    parent = ROOT
    for number in range(links):
        name = f"link{number:03}"
        tree.add(name, parent, f"RUN sleep {link}")
        parent = name
    return tree
