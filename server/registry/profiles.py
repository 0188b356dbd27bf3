"""How strongly each served model's embeddings are to be corrupted, as the sweep found."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from guards.act.corruption import CorruptionProfile
from server.registry.tables import corruption_profiles

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection


async def read_profiles(connection: AsyncConnection) -> list[CorruptionProfile]:
    """The profiles of all served models."""
    query = select(corruption_profiles).order_by(corruption_profiles.c.model)
    return [
        CorruptionProfile(
            model=row.model,
            kind=row.kind,
            strength=row.strength,
            dimensions=row.dimensions,
            curve=row.curve,
            root=row.root,
        )
        for row in await connection.execute(query)
    ]


async def write_profile(connection: AsyncConnection, profile: CorruptionProfile) -> None:
    """Put a profile in place of the model's earlier one."""
    await connection.execute(delete(corruption_profiles).where(corruption_profiles.c.model == profile.model))
    await connection.execute(
        corruption_profiles.insert().values(
            model=profile.model,
            kind=profile.kind,
            strength=profile.strength,
            dimensions=profile.dimensions,
            curve=dict(profile.curve),
            root=profile.root,
            created_at=time.time(),
        )
    )
