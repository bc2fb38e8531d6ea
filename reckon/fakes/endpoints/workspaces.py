"""What the management of workspaces says."""

from reckon.fakes.answers import Answer
from reckon.fakes.endpoints.asked import Asked, not_found
from reckon.fakes.endpoints.body import found, timestamp
from reckon.fakes.workspaces import Workspace


def tell_workspaces(asked: Asked) -> Answer:
    """Tell one page of the account's workspaces, in the order they were made."""
    offset = asked.whole("offset", otherwise=0)
    limit = asked.whole("limit", otherwise=50, least=1, most=100)
    made = asked.world.workspaces
    return found([_row(workspace) for workspace in made[offset : offset + limit]], total_count=len(made))


def tell_one_of_the_workspaces(asked: Asked) -> Answer:
    """Tell of the workspace whose id or slug is asked for."""
    for workspace in asked.world.workspaces:
        if asked.named in {workspace.id, workspace.slug}:
            return found(_row(workspace))
    raise not_found()


def _row(workspace: Workspace) -> dict[str, object]:
    return {
        "created_at": timestamp(workspace.created_at),
        "created_by": "user_2invented0000000000000000000",
        "default_guardrail_id": workspace.guardrail_id,
        "default_image_model": None,
        "default_provider_sort": None,
        "default_text_model": None,
        "description": None,
        "id": workspace.id,
        "include_byok_in_budgets": False,
        "io_logging_api_key_ids": None,
        "io_logging_sampling_rate": 1,
        "is_data_discount_logging_enabled": False,
        "is_observability_broadcast_enabled": False,
        "is_observability_io_logging_enabled": False,
        "name": workspace.name,
        "slug": workspace.slug,
        "updated_at": None,
    }
