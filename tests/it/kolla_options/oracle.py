"""Tells as JSON what options the kolla-build beside this Python has, and what comes of giving them.

Arguments: an empty folder, for the options that take one, and a folder to write files in. The
options are asked of kolla's own parser, one at a time, on the command line and in a file.
"""

import contextlib
import io
import json
import os
import sys

from oslo_config import cfg

from kolla.common import config

EMPTY_FOLDER, SCRATCH = sys.argv[1:]

# Sources and users are options as well, in sections of their own. They are not asked about, and
# there are so many that they would take most of the time.
config.gen_all_source_opts = config.gen_all_user_opts = lambda: ()

# What a text may be where not every text will do, and the profiles that every release has.
TEXTS = {
    'docker_dir': [EMPTY_FOLDER],
    'platform': ['linux/arm64', 'linux/arm/v$threads'],
    'podman_base_url': ['unix:///one', 'tcp://two:$threads'],
    'profile': ['infra', 'main'],
    'regex': ['^keystone', 'heat$'],
}


def parsed(arguments, lines=()):
    """The settings that kolla-build comes to; None if it refuses."""
    path = os.path.join(SCRATCH, 'kolla-build.conf')
    with open(path, 'w') as file:
        file.write('\n'.join(['[DEFAULT]', *lines, '']))
    conf = cfg.ConfigOpts()
    with contextlib.redirect_stderr(io.StringIO()):
        try:
            config.parse(conf, ['--config-file', path, *arguments], prog='kolla-build')
            return {opt.dest: value_of(conf, opt) for opt in config._CLI_OPTS + config._BASE_OPTS}
        except (SystemExit, ValueError, cfg.Error):
            return None


def value_of(conf, opt):
    """A value in the spelling of `kiln config show`; empty for none."""
    value = getattr(conf, opt.dest)
    if isinstance(opt, cfg.BoolOpt):
        return [str(bool(value)).lower()]
    if isinstance(opt, cfg.MultiOpt):
        return list(value or [])
    if isinstance(opt, cfg.ListOpt):
        return [','.join(value)] if value else []
    if isinstance(opt, cfg.DictOpt):
        return [f'{k}:{v}' for k, v in sorted((value or {}).items())]
    return [] if value in (None, '') else [str(value)]


def choices(opt):
    return [choice for choice in getattr(opt.type, 'choices', None) or []]


def samples(opt, default):
    """Values to give an option: each a list, since some may be repeated."""
    if isinstance(opt, cfg.BoolOpt):
        return [[word] for word in ('yes', 'off', 'TRUE', '0')]
    if isinstance(opt, cfg.IntOpt):
        return [[str(int(default[0]) + 1)]]
    if isinstance(opt, cfg.ListOpt):
        return [['one'], ['one, $threads,,three,']]
    if isinstance(opt, cfg.DictOpt):
        return [['a:1'], ['a:1, b:$threads,c, d:x:y']]
    if choices(opt):
        return [[choice] for choice in choices(opt)]
    if isinstance(opt, cfg.MultiOpt):
        return [TEXTS.get(opt.dest, ['one', 'two-$threads'])]
    return [[text] for text in TEXTS.get(opt.dest, ['one', 'two-$threads'])]


def doubtful(opt):
    """Values that may be refused."""
    if isinstance(opt, cfg.BoolOpt):
        return ['maybe', '']
    if isinstance(opt, cfg.IntOpt):
        return ['-1', '0', 'many', '1.5']
    if isinstance(opt, cfg.DictOpt):
        return ['a', 'a=1', 'a:1,a:2', ':1']
    if isinstance(opt, cfg.ListOpt) or isinstance(opt, cfg.MultiOpt):
        return []
    return ['nonesuch'] if choices(opt) else ['$nonesuch']


def arguments(opt, values):
    """How values stand on the command line."""
    if isinstance(opt, cfg.BoolOpt):
        word = values[0].lower()
        return [f'--{opt.name}' if word in ('yes', 'true') else f'--no{opt.name}']
    if opt.positional:
        return values
    return [word for value in values for word in (f'--{opt.name}', value)]


def lines(opt, values):
    return [f'{opt.dest} = {value}' for value in values]


def of_command_line(opt):
    return opt in config._CLI_OPTS


def about(opt, default):
    given = []
    for values in samples(opt, default):
        in_file = parsed([], lines(opt, values))
        given.append({'values': values, 'lines': lines(opt, values), 'in_file': in_file[opt.dest]})
        if of_command_line(opt):
            given[-1]['arguments'] = arguments(opt, values)
            given[-1]['on_command_line'] = parsed(arguments(opt, values))[opt.dest]
    return {
        'name': opt.name,
        'dest': opt.dest,
        'short': opt.short,
        'kind': type(opt).__name__,
        'positional': opt.positional,
        'least': getattr(opt.type, 'min', None),
        'choices': choices(opt),
        'default': default,
        'given': given,
        'doubtful': [
            {'value': value, 'accepted': parsed([], lines(opt, [value])) is not None}
            for value in doubtful(opt)
        ],
    }


defaults = parsed([])
options = config._CLI_OPTS + config._BASE_OPTS
json.dump([about(opt, defaults[opt.dest]) for opt in options], sys.stdout, indent=1)
