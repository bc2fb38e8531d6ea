from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from reckon.config import Settings, load


@pytest.fixture
def configure(tmp_path: Path, canary) -> Callable[..., Settings]:
    """Load a configuration whose file holds *text*, as a command would that was started in an empty directory."""

    def configured(text: str, environ: Mapping[str, str] | None = None, *, mode: int = 0o600) -> Settings:
        path = tmp_path / "reckon.toml"
        path.write_text(text, encoding="utf-8")
        canary.allow(path)
        path.chmod(mode)
        return load(None, environ or {}, tmp_path)

    return configured
