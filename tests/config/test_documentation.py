"""What docs/configuration.md shows is accepted, and it mentions every setting."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from qmi.config import schema
from qmi.config.loader import parse_config
from qmi.config.paths import PLACEHOLDERS, Places, place_faults

TEXT = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text("utf-8")
BLOCKS = ["\n".join(line[4:] for line in block.splitlines()) for block in re.findall(r"(?:^    .*\n|^\n)+", TEXT, re.M)]
FILES = [block for block in BLOCKS if block.strip().startswith("{")]


def test_the_file_that_is_shown_is_accepted() -> None:
    (file,) = FILES
    config = parse_config(file)
    assert place_faults(config) == []
    assert Places(config, "lab").output_dir().endswith("/qmi/out")


@pytest.mark.parametrize("section", schema.__all__)
def test_every_setting_is_mentioned(section: str) -> None:
    names = list(getattr(schema, section).__struct_fields__)
    assert [name for name in names if not re.search(rf"[\"`]{name}[\"`]", TEXT) and name != "config_file"] == []


def test_every_placeholder_is_mentioned() -> None:
    assert [name for name in PLACEHOLDERS if f"`${{{name}}}`" not in TEXT] == []
