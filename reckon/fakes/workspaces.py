"""Workspaces: the parts of an account, each with keys of its own."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import NAMESPACE_URL, UUID, uuid5

DEFAULT_WORKSPACE: Final = "0d0f5e1c-7a52-4c1e-9f43-5b8c3d2a1e90"


@dataclass(frozen=True, slots=True)
class Workspace:
    """One workspace. Keys name it by its id."""

    id: str
    name: str
    created_at: datetime

    @property
    def slug(self) -> str:
        """The name as it stands in addresses."""
        return re.sub(r"[^a-z0-9]+", "-", self.name.lower()).strip("-")

    @property
    def guardrail_id(self) -> str:
        """What its default guardrail would be called; it has none."""
        return invented_uuid(f"guardrail of {self.id}")


def invented_uuid(of: str) -> str:
    """Return a UUID, always the same for *of*."""
    return str(uuid5(NAMESPACE_URL, f"invented: {of}"))


def is_uuid(text: str) -> bool:
    """Return whether *text* is written as a UUID."""
    try:
        return str(UUID(text)) == text.lower()
    except ValueError:
        return False
