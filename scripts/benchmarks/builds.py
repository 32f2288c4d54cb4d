"""What the benchmarks that build have in common."""

import json
import uuid
from contextlib import contextmanager

from benchmarks import engine, measure, programs, trees

THREADS = 8
GROUPS = 10
LEAVES = 19
IMAGES = 1 + GROUPS * (1 + LEAVES)


def family(bench):
    """A new tree of the images, as new_tree makes it."""
    return new_tree(bench, lambda *place: trees.family(*place, GROUPS, LEAVES))


@contextmanager
def new_tree(bench, make):
    """A tree that `make` makes in a folder with a word that no build cache knows, and a namespace
    for it. The images are removed from the engine in the end."""
    word = uuid.uuid4().hex[:12]
    tree = make(bench.folder / word, word)
    namespace = f"kiln-bench-{word}"
    try:
        yield tree, namespace
    finally:
        bench.engine.remove(programs.reference(namespace, image) for image in tree.leaves_first())


def kiln(bench, tree, namespace, *options):
    """Has Kiln build a tree; returns the run, and its summary."""
    return build(bench, bench.programs.kiln, tree, namespace, options)


def kolla(bench, tree, namespace, *options):
    """Has kolla-build build a tree with the classic builder; returns the run, and its summary. For
    BuildKit it wants a plugin of the Docker client, a program of its own for every image."""
    return build(bench, bench.programs.kolla, tree, namespace, ["--nobuildkit", *options])


def build(bench, command, tree, namespace, options):
    summary = tree.folder / "summary.json"
    told = ["--nopull", "--format", "json", "--summary-json-file", summary]
    if "--threads" not in options:
        told += ["--threads", THREADS]
    run = measure.run(command(tree.folder, namespace, *told, *options), bench.folder)
    return run, json.loads(summary.read_text())


def require_all(bench, tree, namespace):
    """Makes sure that the engine has all images of a tree, and returns their ids, leaves first."""
    images = tree.leaves_first()
    ids = [bench.engine.image_id(programs.reference(namespace, image)) for image in images]
    missing = [image for image, known in zip(images, ids) if known is None]
    if missing:
        raise measure.Failed(f"{len(missing)} images were not built: {missing[:3]}")
    return ids


def contexts(bench, tree, namespace):
    """The contexts of a tree's images, packed, as Kiln writes them."""
    work = tree.folder / "work"
    written = ["--template-only", "--work-dir", work]
    measure.run(bench.programs.kiln(tree.folder, namespace, *written), bench.folder)
    folders = (path.parent for path in (work / "docker").rglob("Dockerfile"))
    return {folder.name: engine.pack(folder) for folder in folders}
