"""One request that may be answered, and the refusal of one that may not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from reckon.fakes.answers import Answer, refusal
from reckon.fakes.endpoints.body import Written, number
from reckon.fakes.workspaces import is_uuid
from reckon.fakes.world import Key, World


class Refused(Exception):
    """The request is answered with an error."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


def not_found() -> Refused:
    """Return the refusal of what is not there."""
    return Refused(refusal(404, "Resource not found"))


def invalid(why: str = "Invalid request parameters") -> Refused:
    """Return the refusal of parameters that make no sense."""
    return Refused(refusal(400, why))


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asks, and for what."""

    world: World
    key: Key
    query: Mapping[str, str]
    body: bytes = field(repr=False)
    named: str
    """The last part of the path, where that is a name."""
    towards: float
    """On which side of the truth noise lies."""

    def usd(self, nanos: int) -> Written:
        """Return *nanos* as this answer writes money."""
        return Written(number(nanos, self.world.figures, self.towards))

    def whole(self, name: str, *, otherwise: int, least: int = 0, most: int | None = None) -> int:
        """Return a parameter that is a whole number."""
        text = self.query.get(name, "")
        if not text:
            return otherwise
        if not (text.isascii() and text.isdecimal()) or int(text) < least or (most is not None and int(text) > most):
            raise invalid()
        return int(text)

    def flag(self, name: str) -> bool:
        """Return a parameter that is true or false, and false unless given."""
        match self.query.get(name, "false").lower():
            case "true" | "1":
                return True
            case "false" | "0":
                return False
        raise invalid()

    def workspace_id(self) -> str | None:
        """Return the workspace that is asked about, which is one of the account's; None if all are."""
        workspace_id = self.query.get("workspace_id")
        if workspace_id is None:
            return None
        if not is_uuid(workspace_id):
            raise invalid()
        if self.world.workspace(workspace_id) is None:
            raise not_found()
        return workspace_id
