"""A minimal client of the engine: what the engine itself takes when it is asked for nothing but the
builds, each as soon as its parent is there."""

import hashlib
import http.client
import io
import json
import os
import socket
import tarfile
import threading
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from urllib.parse import quote, urlencode

from benchmarks.measure import Failed

UNIX = "unix://"


class Connection(http.client.HTTPConnection):
    """One connection to the engine's socket."""

    def __init__(self, path):
        super().__init__("engine")
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


class Engine:
    """The engine that DOCKER_HOST names; every thread has a connection of its own."""

    def __init__(self, host):
        if not host.startswith(UNIX):
            raise Failed("these benchmarks want an engine at a unix socket in DOCKER_HOST")
        self.path = host.removeprefix(UNIX)
        self.of_thread = threading.local()

    def ask(self, method, path, body=None, headers=None):
        """The status and the body of the engine's answer."""
        if not hasattr(self.of_thread, "connection"):
            self.of_thread.connection = Connection(self.path)
        connection = self.of_thread.connection
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return answer.status, answer.read()
        except OSError:
            connection.close()
            raise

    def version(self):
        status, body = self.ask("GET", "/version")
        if status != 200:
            raise Failed("no engine answers")
        told = json.loads(body)
        return f"Docker {told['Version']}" if told.get("Version") else "unknown"

    def image_id(self, reference):
        """The id of an image; None where it is not there."""
        status, body = self.ask("GET", f"/images/{quote(reference)}/json")
        return json.loads(body)["Id"] if status == 200 else None

    def remove(self, images):
        """Removes images, and what the classic builder kept of their steps with them."""
        for image in images:
            self.ask("DELETE", f"/images/{quote(image)}?force=1")

    def build(self, reference, context, buildkit, label):
        """Builds an image, with a label of its own if that is wanted, and makes sure that the answer has
        no error in it."""
        query = {"t": reference, "networkmode": "host", "rm": 1, "forcerm": 1}
        if buildkit:
            query["version"] = 2
        if label:
            query["labels"] = json.dumps({"bare": hashlib.sha256(context).hexdigest()})
        headers = {"Content-Type": "application/x-tar"}
        status, body = self.ask("POST", f"/build?{urlencode(query)}", context, headers)
        if status != 200 or b'"errorDetail"' in body:
            raise Failed(f"{reference} was not built: {body[-500:].decode(errors='replace')}")

    def build_all(self, contexts, parents, name, threads, buildkit, label):
        """Builds images from their contexts, so many at once, each when its parent is there, and
        returns the seconds that takes."""
        children = {}
        for image, parent in parents.items():
            children.setdefault(parent, []).append(image)
        at = {}
        begun = time.monotonic()
        with ThreadPoolExecutor(threads) as pool:

            def start(images):
                for image in images:
                    at[pool.submit(self.build, name(image), contexts[image], buildkit, label)] = image

            start(children[None])
            while at:
                for future in wait(at, return_when=FIRST_COMPLETED).done:
                    future.result()
                    start(children.get(at.pop(future), ()))
        return time.monotonic() - begun


def pack(folder):
    """The files of a folder as an archive, as an engine wants a context: BuildKit takes one for a
    Dockerfile if it begins with an entry of the newer format."""

    def without_times(entry):
        entry.mtime = 0
        return entry

    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for path in sorted(folder.rglob("*")):
            archive.add(path, str(path.relative_to(folder)), recursive=False, filter=without_times)
    return packed.getvalue()


def from_environment():
    """The engine that DOCKER_HOST names; None without one."""
    host = os.environ.get("DOCKER_HOST")
    return Engine(host) if host else None
