"""Reads configuration files with oslo.config, as kolla-build does, and tells what they come to.

usage: PREFIX/bin/python oracle.py   (PREFIX: a release, installed by scripts/kolla-releases)

On standard input is a JSON object:

    {"options": ["threads"],
     "cases": [{"files": ["a.conf"], "arguments": ["--tag=x"], "settle": true}]}

and on standard output a JSON list, with for each case

    {"parsed": [{"sections": ["DEFAULT"], "entries": [["DEFAULT", "threads", "3"]]}],
     "settled": {"options": {"threads": 3}, "patterns": [], "sources": {}, "users": {}}}

where what is refused is {"refused": "why"} instead. "parsed" are the files one by one, as
oslo.config's parser takes them apart; "settled" is, if asked for, what they mean together: the
options that kolla-build registers, with their types and with references to others replaced.
"""

import contextlib
import io
import json
import multiprocessing
import os
import re
import sys

from kolla.common import config
from oslo_config import cfg

# Of kolla-build's many sources and users, one of each sort: it takes long to register all.
config.SOURCES = {name: config.SOURCES[name] for name in ["etcd", "gnocchi-base", "horizon"]}
config.USERS = {name: config.USERS[name] for name in ["nova-user", "horizon-user"]}


class Recorder(cfg.ConfigParser):
    """oslo.config's own parser, which also keeps the order of things."""

    def __init__(self, file):
        super().__init__(file, {})
        self.told = {"sections": [], "entries": []}

    def new_section(self, section):
        super().new_section(section)
        self.told["sections"].append(section)

    def assignment(self, key, value):
        super().assignment(key, value)
        self.told["entries"].append([self.section, key, self.sections[self.section][key][-1]])


def parsed(file):
    recorder = Recorder(file)
    recorder.parse()
    return recorder.told


def settled(case, options):
    conf = cfg.ConfigOpts()
    arguments = [f"--config-file={file}" for file in case["files"]] + case["arguments"]
    config.parse(conf, arguments, prog="kolla-build")
    return {
        "options": {name: option(conf, name) for name in options},
        "patterns": patterns(conf),
        "sources": sources(conf),
        "users": users(conf),
    }


def option(conf, name):
    """The value of an option; where there is none, the empty value of its type."""
    value = getattr(conf, name)
    if value is not None:
        return value
    about = conf._opts[name]["opt"]
    return [] if about.multi else {} if isinstance(about, cfg.DictOpt) else ""


def patterns(conf):
    """What KollaWorker.filter_images makes of the options."""
    if conf.regex:
        return conf.regex
    found = []
    for profile in conf.profile or []:
        if profile not in conf.profiles:
            conf.register_opt(cfg.ListOpt(profile, default=[]), "profiles")
        if not conf.profiles[profile]:
            raise ValueError(f"Profile: {profile} does not exist")
        found += conf.profiles[profile]
    return found


def groups(conf, pattern):
    """The groups of options, and sections of files, that are called so."""
    names = {*conf._groups, *conf.list_all_sections()}
    return [name for name in names if re.search(pattern, name)]


def sources(conf):
    """What KollaWorker.build_image_list makes of the options, for some images."""
    found = {}
    for name in groups(conf, f"^({'|'.join(config.SOURCES)})(-plugin-.+|-additions-.+|)$"):
        if name not in conf._groups:
            conf.register_opts(config.get_source_opts(), name)
        source = conf[name]
        if source.type is None:
            continue
        about = {"type": source.type, "location": source.location or ""}
        if source.type == "git":
            about["reference"] = source.reference or ""
        enabled = source.enabled
        # As ArchivingTask.process_source does.
        about["sha256"] = source.sha256[conf.debian_arch] if source.sha256 else ""
        if enabled:
            found[name] = about
    return found


def users(conf):
    """What KollaWorker.get_users makes of the options."""
    found = {}
    for group in groups(conf, "^.*-user$"):
        name = group.removesuffix("-user")
        if group not in conf._groups:
            conf.register_opts(config.get_user_opts(None, None, group=name), group)
        found[name] = {key: conf[group][key] for key in ["uid", "gid", "group"]}
    return found


def tried(read, *arguments):
    """What comes of a call, or why it was refused: some of that is only said to standard error."""
    try:
        with contextlib.redirect_stderr(io.StringIO()) as told:
            return read(*arguments)
    except SystemExit:
        return {"refused": told.getvalue()}
    except Exception as error:
        return {"refused": f"{type(error).__name__}: {error}"}


def answer(question):
    case, options = question
    return {
        "parsed": [tried(parsed, file) for file in case["files"]],
        "settled": tried(settled, case, options) if case["settle"] else None,
    }


def main():
    job = json.load(sys.stdin)
    questions = [(case, job["options"]) for case in job["cases"]]
    with multiprocessing.get_context("fork").Pool(os.cpu_count()) as workers:
        json.dump(workers.map(answer, questions, chunksize=16), sys.stdout)


if __name__ == "__main__":
    main()
