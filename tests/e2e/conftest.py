from pathlib import Path

import pytest

from tests.e2e.embedded import Program


@pytest.fixture
def program(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Program:
    return Program(tmp_path / "data", capsys)
