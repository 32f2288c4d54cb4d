"""Runs the kolla-build that is installed beside this Python on the tree in another folder.

usage: kolla_on_tree.py FOLDER ARGUMENT...     FOLDER/docker is the tree

kolla-build looks for its tree beside its own modules first. That place is all that is changed.
"""

import sys

from kolla.cmd.build import main
from kolla.image import kolla_worker

kolla_worker.KOLLA_PACKAGE_DIR = sys.argv.pop(1)
sys.exit(main())
