"""Runs that write their config as it is: to lay it out takes longer than to train a tiny model."""

import pytest


def leave_configs_as_they_are(patch: pytest.MonkeyPatch) -> None:
    """Let mmengine write configs without their layout, in this process."""
    patch.setattr('yapf.yapflib.yapf_api.FormatCode', lambda text, style_config: (text, False))
