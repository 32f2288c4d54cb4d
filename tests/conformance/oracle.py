"""Runs the real kolla-build on many cases, and keeps what each of them came to.

usage: PREFIX/bin/python oracle.py JOB   (PREFIX: a release, installed by scripts/kolla-releases)

JOB is a JSON file:

    {"workers": 2, "plain": false,
     "cases": [{"arguments": ["-b", "centos"], "environment": {"http_proxy": "http://a.proxy"},
                "folder": "the working directory", "result": "a.tar.gz"}]}

Each case is one call of the console script's own entry, kolla.cmd.build.main, in a process forked
for it alone: imports are paid for once, and no case sees what another has changed. Two pure
functions that take nearly all of kolla-build's time are remembered from one case to the next, the
compilation of templates and the parsing of YAML. With "plain", nothing is: the case is a new
Python, as if kolla-build had been typed into a shell.

A result is a tape archive: run.json has the exit code, both outputs, and the dates on which the
run began and ended; below docker/ are the files and folders that are left in the working
directory, if there are any. It is there completely or not at all.
"""

import hashlib
import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import traceback
from pathlib import Path

import jinja2
import yaml

MAIN = "import sys; from kolla.cmd.build import main; sys.exit(main())"


class Remembered:
    """Values by their key, in files: processes of the same run see each other's."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.seen = {}

    def path(self, *key):
        return self.folder / hashlib.sha256("\0".join(key).encode()).hexdigest()

    def read(self, path):
        if path not in self.seen and path.exists():
            self.seen[path] = path.read_bytes()
        return self.seen.get(path)

    def write(self, path, value):
        part = path.with_suffix(f".{os.getpid()}")
        part.write_bytes(value)
        part.rename(path)


class CompiledTemplates(jinja2.BytecodeCache):
    """Jinja2's own kind of cache, which must not care where a case's working directory is."""

    def __init__(self, remembered):
        self.remembered = remembered

    def get_bucket(self, environment, name, filename, source):
        path = self.remembered.path(type(environment).__name__, name, source)
        bucket = jinja2.bccache.Bucket(environment, path, self.get_source_checksum(source))
        self.load_bytecode(bucket)
        return bucket

    def load_bytecode(self, bucket):
        if found := self.remembered.read(bucket.key):
            bucket.bytecode_from_string(found)

    def dump_bytecode(self, bucket):
        self.remembered.write(bucket.key, bucket.bytecode_to_string())


def remember(remembered):
    """Makes Jinja2 and PyYAML remember what they have worked out."""
    compiled = CompiledTemplates(remembered)
    plain_init = jinja2.Environment.__init__
    plain_load = yaml.safe_load

    def init(self, *arguments, **options):
        options.setdefault("bytecode_cache", compiled)
        plain_init(self, *arguments, **options)

    def safe_load(stream):
        text = stream if isinstance(stream, str) else stream.read()
        path = remembered.path("yaml", text)
        found = remembered.read(path)
        if found is None:
            found = pickle.dumps(plain_load(text))
            remembered.write(path, found)
        return pickle.loads(found)

    jinja2.Environment.__init__ = init
    yaml.safe_load = safe_load


def kolla_build(arguments):
    """The exit code of kolla-build, called in this process."""
    from kolla.cmd import build

    sys.argv = ["kolla-build", *arguments]
    time.sleep = lambda seconds: None  # After a warning, 14 gives its reader some seconds.
    try:
        return build.main()
    except SystemExit as end:
        return end.code or 0
    except BaseException:
        traceback.print_exc()
        return 1


def kolla_build_alone(arguments):
    """The exit code of kolla-build in a Python of its own."""
    return subprocess.run([sys.executable, "-c", MAIN, *arguments]).returncode


def redirect(output, path):
    """Lets everything that is written to a standard output go into a file."""
    output.flush()
    with open(path, "wb") as file:
        os.dup2(file.fileno(), output.fileno())


def pack(archive, name, text):
    """Adds a text to an archive, as a file."""
    member = tarfile.TarInfo(name)
    member.size = len(text)
    archive.addfile(member, io.BytesIO(text))


def run(case, scratch, plain):
    """Runs a case in this process, which is good for nothing else afterwards."""
    stdout, stderr, work = scratch / "stdout", scratch / "stderr", scratch / "work"
    redirect(sys.stdout, stdout)
    redirect(sys.stderr, stderr)
    os.chdir(case["folder"])
    os.environ.update(case["environment"])
    arguments = [*case["arguments"], "--work-dir", str(work)]
    dates = [time.strftime("%Y%m%d")]
    code = (kolla_build_alone if plain else kolla_build)(arguments)
    dates.append(time.strftime("%Y%m%d"))
    sys.stdout.flush()
    sys.stderr.flush()
    told = {"code": code, "dates": dates}
    for name, path in [("stdout", stdout), ("stderr", stderr)]:
        told[name] = path.read_text(errors="replace")

    result = Path(case["result"])
    result.parent.mkdir(parents=True, exist_ok=True)
    part = result.with_name(f"{result.name}.{os.getpid()}")
    with tarfile.open(part, "w:gz", compresslevel=6) as archive:
        pack(archive, "run.json", json.dumps(told).encode())
        if (work / "docker").exists():
            archive.add(work / "docker", "docker")
    part.rename(result)


def run_all(job, scratch):
    """Runs the cases, some at a time."""
    if not job["plain"]:
        compiled = scratch / "remembered"
        compiled.mkdir()
        remember(Remembered(compiled))
        import kolla.cmd.build  # noqa: F401  Once, for all the processes to come.
    running = {}
    failed = []

    def wait():
        pid, status = os.wait()
        case, folder = running.pop(pid)
        if status:
            failed.append(case["result"])
            sys.stderr.write((folder / "stderr").read_text(errors="replace"))
        shutil.rmtree(folder)

    for case in job["cases"]:
        folder = Path(tempfile.mkdtemp(dir=scratch))
        pid = os.fork()
        if pid == 0:
            try:
                run(case, folder, job["plain"])
                os._exit(0)
            except BaseException:
                traceback.print_exc()
                sys.stderr.flush()
                os._exit(1)
        running[pid] = case, folder
        if len(running) >= job["workers"]:
            wait()
    while running:
        wait()
    return failed


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    with tempfile.TemporaryDirectory(prefix="kiln-oracle-") as scratch:
        failed = run_all(job, Path(scratch))
    if failed:
        sys.exit(f"the oracle itself failed: {failed}")


if __name__ == "__main__":
    main()
