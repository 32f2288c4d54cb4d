#!/usr/bin/python3 -I
"""Puts the configuration of a service in place before it starts.

What to do is said as JSON, in the variable KOLLA_CONFIG or else in the file
that KOLLA_CONFIG_FILE names (/var/lib/kolla/config_files/config.json):

    {
        "command": "memcached -v",
        "config_files": [
            {"source": "/var/lib/kolla/config_files/memcached.conf",
             "dest": "/etc/memcached.conf", "owner": "memcached", "perm": "0600"}
        ],
        "permissions": [
            {"path": "/var/log/kolla/memcached", "owner": "memcached:kolla", "recurse": true}
        ]
    }

Files are copied, then permissions set, then the command is written to
/run_command for kolla_start. KOLLA_CONFIG_STRATEGY says whether this is done on
every start (COPY_ALWAYS) or on a container's first one only (COPY_ONCE).

With --check nothing is changed: exit status 1 means that what is in place
differs from what is asked for.
"""

import argparse
import filecmp
import glob
import grp
import json
import os
import pwd
import re
import shutil
import stat
import sys

DEFAULT_CONFIG_FILE = "/var/lib/kolla/config_files/config.json"
RUN_COMMAND = "/run_command"
CONFIGURED = "/configured"
STRATEGIES = ("COPY_ALWAYS", "COPY_ONCE")


class ConfigError(Exception):
    """A mistake in what was asked for, told to the user as it is."""


# --- Reading what is asked for ----------------------------------------------


def load_config(root):
    text = os.environ.get("KOLLA_CONFIG")
    origin = "KOLLA_CONFIG"
    if text is None:
        origin = os.environ.get("KOLLA_CONFIG_FILE") or DEFAULT_CONFIG_FILE
        try:
            with open(root.path(origin), encoding="utf-8") as file:
                text = file.read()
        except UnicodeDecodeError as error:
            raise ConfigError(f"{origin} is not UTF-8 text: {error}") from error
        except OSError as error:
            raise ConfigError(f"cannot read {origin}: {error.strerror}") from error
    try:
        config = json.loads(text)
    except ValueError as error:
        raise ConfigError(f"{origin} is not valid JSON: {error}") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{origin} must hold a JSON object")

    command = Entry(origin, config).text("command")
    copies = [Copy(root, entry) for entry in entries(config, "config_files")]
    permissions = [Permission(root, entry) for entry in entries(config, "permissions")]
    return command, copies, permissions


def entries(config, key):
    found = config.get(key, [])
    if not isinstance(found, list) or not all(isinstance(item, dict) for item in found):
        raise ConfigError(f'"{key}" must be a list of objects')
    return [Entry(f"{key}[{index}]", item) for index, item in enumerate(found)]


class Entry:
    """One JSON object, read field by field with errors that name it."""

    def __init__(self, name, values):
        self.name = name
        self.values = values

    def text(self, key, required=True):
        value = self.values.get(key)
        if value is None and not required:
            return None
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f'{self.name} needs "{key}", a string')
        return value

    def absolute(self, key):
        value = self.text(key)
        if not value.startswith("/"):
            raise ConfigError(f'{self.name}: "{key}" must be an absolute path, not "{value}"')
        return value

    def flag(self, key):
        value = self.values.get(key, False)
        if not isinstance(value, bool):
            raise ConfigError(f'{self.name}: "{key}" must be true or false')
        return value

    def patterns(self, key):
        values = self.values.get(key) or []
        if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
            raise ConfigError(f'{self.name}: "{key}" must be a list of regular expressions')
        try:
            return [re.compile(value) for value in values]
        except re.error as error:
            raise ConfigError(f'{self.name}: "{key}": {error}') from error

    def owner(self, required=True):
        """The numeric user and group of "user" or "user:group"."""
        value = self.text("owner", required)
        if value is None:
            return None
        user, _, group = value.partition(":")
        try:
            account = pwd.getpwuid(int(user)) if user.isdigit() else pwd.getpwnam(user)
            uid, gid = account.pw_uid, account.pw_gid
        except KeyError:
            if not user.isdigit():
                raise ConfigError(f'{self.name}: there is no user "{user}"') from None
            uid = gid = int(user)
        if group:
            try:
                gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
            except KeyError:
                raise ConfigError(f'{self.name}: there is no group "{group}"') from None
        return uid, gid

    def perm(self, required=True):
        value = self.text("perm", required)
        if value is None:
            return None
        try:
            mode = int(value, 8)
        except ValueError:
            mode = -1
        if not 0 <= mode <= 0o7777:
            raise ConfigError(f'{self.name}: "perm" must be an octal mode such as "0640", not "{value}"')
        return mode


class Root:
    """Where paths of the configuration lie: / but in tests."""

    def __init__(self, directory):
        self.directory = directory.rstrip("/")

    def path(self, path):
        return self.directory + path

    def name(self, path):
        return path[len(self.directory) :]


class Properties:
    """The owner and mode that a file is to have; None leaves it as it is."""

    def __init__(self, owner, perm):
        self.owner = owner
        self.perm = perm

    @classmethod
    def of(cls, path):
        status = os.stat(path)
        return cls((status.st_uid, status.st_gid), stat.S_IMODE(status.st_mode))

    def mode(self, path):
        """Who may read a directory may also enter it."""
        if self.perm is not None and os.path.isdir(path):
            return self.perm | (self.perm & 0o444) >> 2
        return self.perm

    def differences(self, path):
        status = os.stat(path)
        if self.owner not in (None, (status.st_uid, status.st_gid)):
            yield f"has owner {status.st_uid}:{status.st_gid}, not {self.owner[0]}:{self.owner[1]}"
        if self.mode(path) not in (None, stat.S_IMODE(status.st_mode)):
            yield f"has mode {stat.S_IMODE(status.st_mode):04o}, not {self.mode(path):04o}"

    def apply(self, path):
        status = os.stat(path)
        if self.owner not in (None, (status.st_uid, status.st_gid)):
            os.chown(path, *self.owner)
            # A change of owner may have cleared bits of the mode.
            status = os.stat(path)
        if self.mode(path) not in (None, stat.S_IMODE(status.st_mode)):
            os.chmod(path, self.mode(path))


# --- config_files -----------------------------------------------------------


class Copy:
    """One entry of config_files."""

    def __init__(self, root, entry):
        self.root = root
        self.entry = entry
        self.source = entry.absolute("source")
        self.dest = entry.absolute("dest")
        self.optional = entry.flag("optional")
        self.merge = entry.flag("merge")
        self.ignore_globs = entry.flag("ignore_globs")
        self.exclude = entry.patterns("exclude")
        self.preserve = entry.flag("preserve_properties")
        self.properties = Properties(entry.owner(not self.preserve), entry.perm(not self.preserve))

    def pairs(self):
        """Every source that is there, with the place it goes to."""
        pattern = self.root.path(self.source.rstrip("/"))
        if self.ignore_globs:
            sources = [pattern] if os.path.exists(pattern) else []
        else:
            sources = sorted(glob.glob(pattern))
        if not sources and not self.optional:
            raise ConfigError(f"{self.entry.name}: the source {self.source} does not exist")
        if len(sources) > 1 and not self.dest.endswith("/") and not self.merge:
            raise ConfigError(
                f"{self.entry.name}: {self.source} names {len(sources)} files, "
                f'so "dest" must be a directory: {self.dest}/'
            )
        for source in sources:
            dest = self.root.path(self.dest)
            if self.dest.endswith("/"):
                dest = os.path.join(dest, os.path.basename(source))
            yield source, dest

    def files(self, source, dest):
        """`source` and everything in it, each with its place, directories first."""
        if any(pattern.search(self.root.name(source)) for pattern in self.exclude):
            return
        yield source, dest
        if os.path.isdir(source):
            for name in sorted(os.listdir(source)):
                yield from self.files(os.path.join(source, name), os.path.join(dest, name))

    def properties_of(self, source):
        return Properties.of(source) if self.preserve else self.properties

    def apply(self):
        for source, dest in self.pairs():
            print(f"Copying {self.root.name(source)} to {self.root.name(dest)}")
            if not self.merge:
                clear(dest, keep_directory=os.path.isdir(source))
            os.makedirs(os.path.dirname(dest), exist_ok=True)
            placed = list(self.files(source, dest))
            for item, place in placed:
                if os.path.isdir(item):
                    os.makedirs(place, exist_ok=True)
                else:
                    copy_file(item, place)
                    self.properties_of(item).apply(place)
            # A directory comes last, for it may be closed to whoever copies.
            for item, place in reversed(placed):
                if os.path.isdir(item):
                    self.properties_of(item).apply(place)

    def differences(self):
        for source, dest in self.pairs():
            wanted = set()
            for item, place in self.files(source, dest):
                wanted.add(place)
                name = self.root.name(place)
                if not os.path.exists(place):
                    yield f"{name} is missing"
                elif os.path.isdir(item) != os.path.isdir(place):
                    yield f"{name} is not of the kind of {self.root.name(item)}"
                else:
                    if os.path.isfile(item) and not filecmp.cmp(item, place, shallow=False):
                        yield f"{name} differs from {self.root.name(item)}"
                    for difference in self.properties_of(item).differences(place):
                        yield f"{name} {difference}"
            if os.path.isdir(source) and os.path.isdir(dest) and not self.merge:
                for place in tree(dest):
                    if place not in wanted:
                        yield f"{self.root.name(place)} is not in {self.root.name(source)}"


def clear(path, keep_directory):
    """Removes what is at `path`; a directory that may be a volume is only emptied."""
    if os.path.isdir(path) and not os.path.islink(path):
        if not keep_directory:
            shutil.rmtree(path)
            return
        for name in os.listdir(path):
            clear(os.path.join(path, name), keep_directory=False)
    elif os.path.lexists(path):
        os.unlink(path)


def copy_file(source, dest):
    """Copies the content alone; nobody else may read it until its owner is set."""
    with open(source, "rb") as original:
        with open(dest, "wb", opener=lambda path, flags: os.open(path, flags, 0o600)) as copy:
            shutil.copyfileobj(original, copy)


def tree(directory):
    yield directory
    for parent, directories, files in os.walk(directory):
        directories.sort()
        for name in directories + sorted(files):
            yield os.path.join(parent, name)


# --- permissions ------------------------------------------------------------


class Permission:
    """One entry of permissions."""

    def __init__(self, root, entry):
        self.root = root
        self.entry = entry
        self.path = entry.absolute("path")
        self.recurse = entry.flag("recurse")
        self.exclude = entry.patterns("exclude")
        self.properties = Properties(entry.owner(), entry.perm(required=False))

    def paths(self):
        path = self.root.path(self.path)
        if not os.path.exists(path):
            # The image may create it later, on a volume that is still empty.
            print(f"kolla_set_configs: warning: {self.path} does not exist", file=sys.stderr)
            return
        for item in tree(path) if self.recurse else [path]:
            name = self.root.name(item)
            if not os.path.islink(item) and not any(pattern.search(name) for pattern in self.exclude):
                yield item

    def apply(self):
        print(f"Setting permissions of {self.path}")
        for path in list(self.paths()):
            self.properties.apply(path)

    def differences(self):
        for path in self.paths():
            for difference in self.properties.differences(path):
                yield f"{self.root.name(path)} {difference}"


# --- The whole --------------------------------------------------------------


def configure(root):
    strategy = os.environ.get("KOLLA_CONFIG_STRATEGY", "")
    if strategy not in STRATEGIES:
        raise ConfigError(f'KOLLA_CONFIG_STRATEGY must be {" or ".join(STRATEGIES)}, not "{strategy}"')
    command, copies, permissions = load_config(root)

    if strategy == "COPY_ONCE" and os.path.exists(root.path(CONFIGURED)):
        print("Already configured: COPY_ONCE leaves everything as it is")
        return

    for step in copies + permissions:
        step.apply()
    with open(root.path(RUN_COMMAND), "w", encoding="utf-8") as file:
        file.write(command)
    if strategy == "COPY_ONCE":
        with open(root.path(CONFIGURED), "w", encoding="utf-8"):
            pass


def check(root):
    command, copies, permissions = load_config(root)
    differences = [found for step in copies + permissions for found in step.differences()]
    try:
        with open(root.path(RUN_COMMAND), encoding="utf-8") as file:
            if file.read() != command:
                differences.append("the command is another one")
    except FileNotFoundError:
        differences.append(f"{RUN_COMMAND} is missing")
    for difference in differences:
        print(f"kolla_set_configs: {difference}", file=sys.stderr)
    return 1 if differences else 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="change nothing, exit with 1 if anything differs")
    parser.add_argument("--root", default="/", metavar="DIR", help="take all paths as lying in DIR")
    arguments = parser.parse_args()
    root = Root(arguments.root)
    try:
        if arguments.check:
            return check(root)
        configure(root)
    except ConfigError as error:
        print(f"kolla_set_configs: error: {error}", file=sys.stderr)
        return 1
    except (OSError, shutil.Error) as error:
        print(f"kolla_set_configs: error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
