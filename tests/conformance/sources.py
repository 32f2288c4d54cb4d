"""Has the real kolla-build lay out the sources of some images, and tells what they hold.

usage: PREFIX/bin/python sources.py IMAGE,... ARGUMENT...   (PREFIX: a release, 18 or later)

The arguments are kolla-build's. In place of an engine there is one that takes the context of an
image and refuses to build it; the listings of the archives in the contexts go to standard output,
as JSON: by image and archive the entries, each with its type and size. The archives that
kolla-build fetches for the plugins and additions and leaves beside those are left out: no template
knows of them.
"""

import json
import queue
import sys
import tarfile
import tempfile
from pathlib import Path

from kolla.common import config
from kolla.engine_adapter import engine
from kolla.image import kolla_worker, tasks
from oslo_config import cfg


def listing(archive):
    with tarfile.open(archive) as tar:
        return sorted([m.name, "d" if m.isdir() else "f", m.size] for m in tar.getmembers())


class Taken(Exception):
    pass


class Engine:
    """Its own images, and what is built with them."""

    def __init__(self):
        self.images = self
        self.archives = {}

    def build(self, path, **_):
        name = Path(path).name
        wanted = (Path(path) / f"{part}-archive" for part in (name, "plugins", "additions"))
        self.archives[name] = {archive.name: listing(archive) for archive in wanted}
        raise Taken


def main():
    names, *arguments = sys.argv[1:]
    client = Engine()
    engine.getEngineClient = lambda conf: client
    conf = cfg.ConfigOpts()
    with tempfile.TemporaryDirectory() as folder:
        has_buildkit = any(option.name == "buildkit" for option in config._CLI_OPTS)
        arguments += ["--nobuildkit"] if has_buildkit else []
        config.parse(conf, [*arguments, "--work-dir", folder], prog="kolla-build")
        worker = kolla_worker.KollaWorker(conf)
        worker.setup_working_dir()
        worker.find_dockerfiles()
        worker.create_dockerfiles()
        worker.build_image_list()
        for image in worker.images:
            if image.name not in names.split(","):
                continue
            try:
                tasks.BuildTask(conf, image, queue.Queue()).builder(image)
            except Taken:
                pass
    json.dump(client.archives, sys.stdout)


if __name__ == "__main__":
    main()
