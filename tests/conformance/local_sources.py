"""Has the real kolla-build pack local sources, and tells what the archives hold.

usage: PREFIX/bin/python local_sources.py LOCATION...   (PREFIX: any release)

The listings of the archives go to standard output, as JSON: by location the entries, each with its
type and size.
"""

import json
import logging
import sys
import tarfile
import tempfile
import types

try:
    from kolla.image import tasks
except ImportError:  # before release 14
    from kolla.image import build as tasks


def packed(location):
    with tempfile.TemporaryDirectory() as folder:
        logger = logging.getLogger("kolla")
        image = types.SimpleNamespace(path=folder, status=None, logger=logger, name="x")
        conf = types.SimpleNamespace(
            timeout=10, debian_arch="amd64", cache=True, keep=False, retries=0
        )
        task = tasks.BuildTask.__new__(tasks.BuildTask)
        task.conf, task.image = conf, image
        # A property of later releases, which has no setter.
        if not hasattr(tasks.BuildTask, "logger"):
            task.logger = logger
        source = {"enabled": True, "name": "x", "type": "local", "source": location}
        with tarfile.open(task.process_source(image, source)) as tar:
            return sorted([m.name, "d" if m.isdir() else "f", m.size] for m in tar.getmembers())


json.dump({location: packed(location) for location in sys.argv[1:]}, sys.stdout)
