"""Command lines: options that cannot be read are one message."""

import pytest

from mmfusion.cli.arguments import parse_train_args


def test_values_of_options():
    args = parse_train_args(['c.py', '--cfg-options', 'a.b=1', 'c=[1,2]', 'd=(3,4)', 'e=text', 'f=True'])
    assert args.cfg_options == {'a.b': 1, 'c': [1, 2], 'd': (3, 4), 'e': 'text', 'f': True}


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('max_epochs', "'max_epochs' is not of the form KEY=VALUE"),
        ("hooks=[dict(type='A',n=1)]", 'write anything else into a config file'),
        ('size=[96,128', 'with its brackets closed'),
    ],
)
def test_values_that_cannot_be_read(option, message, capsys):
    with pytest.raises(SystemExit):
        parse_train_args(['c.py', '--cfg-options', option])
    assert message in capsys.readouterr().err
