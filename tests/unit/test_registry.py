"""The registry on SQLite. ``tests/integration/test_postgres.py`` runs the same cases on PostgreSQL."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import inspect, text, update

from guards.act.corruption import CorruptionProfile
from guards.scope import Correction, Example, Extent, Kind, Mode, Source, default_policy
from server.registry.database import MIGRATIONS, make_engine, migrate
from server.registry.lifecycle import Duplicate, State, UnknownRequest, WrongState
from server.registry.registry import Registry
from server.registry.tables import forget_scopes, forget_versions, metadata
from server.settings import SettingsError
from server.vault import Vault, VaultError
from tests.fakes.detection import ENCODER, VAULT_KEY, make_scope

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from guards.scope import Scope
    from server.registry.records import Record

SECRET = "Zaphod Beeblebrox"
SOURCE = Source(
    subject=SECRET,
    kind=Kind.PERSON,
    aliases=("Zaphod", "President of the Galaxy"),
    examples=(Example("Who stole the Heart of Gold?", SECRET), Example("", "He has two heads and three arms.")),
    retain_examples=(Example("Who wrote it?", "Douglas Adams"),),
    distinguish_is=("the president",),
    distinguish_not=("the cocktail",),
    corrections=(Correction("a galaxy far away", in_scope=False),),
)
POLICY = default_policy(Kind.PERSON, Extent.KNOWLEDGE)


def source(subject: str) -> Source:
    return replace(SOURCE, subject=subject)


async def create(registry: Registry, given: Source = SOURCE) -> Record:
    return await registry.create(given, mode=Mode.ENFORCE, policy=POLICY, basis="a ticket")


def compiled(record: Record, *, mode: Mode = Mode.ENFORCE, encoder: str = ENCODER, given: Source = SOURCE) -> Scope:
    return make_scope(
        given, request_id=record.id, version=record.latest_version, mode=mode, policy=POLICY, encoder=encoder
    )


async def go_live(registry: Registry, record: Record) -> Record:
    if record.live_version is None:
        await registry.begin(record.id, record.latest_version)
    live = await registry.activate(compiled(record))
    assert live is not None
    return live


async def test_schema_is_the_tables(registry: Registry) -> None:
    async with registry.engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync, opts={"compare_type": True}), metadata)
        )
    assert differences == []


async def test_migrating_again_changes_nothing(registry: Registry, database_url: str) -> None:
    record = await create(registry)
    engine = make_engine(database_url)
    await migrate(engine)
    await engine.dispose()
    assert await registry.get(record.id) == record


async def test_replicas_that_start_at_once_on_an_empty_database(database_url: str) -> None:
    opened = await asyncio.gather(*(Registry.open(database_url, Vault(VAULT_KEY)) for _ in range(4)))
    await create(opened[0])
    assert [await one.epoch() for one in opened] == [1, 1, 1, 1]
    for one in opened:
        await one.close()


async def test_another_key_does_not_open_the_database(registry: Registry, database_url: str) -> None:
    with pytest.raises(SettingsError, match="UNREMEMBER_ENCRYPTION_KEY"):
        await Registry.open(database_url, Vault(VAULT_KEY[::-1]))


async def test_a_newer_schema_is_not_opened(registry: Registry, database_url: str) -> None:
    async with registry.engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SettingsError, match="newer"):
        await Registry.open(database_url, Vault(VAULT_KEY))


async def test_what_is_stored_comes_back(registry: Registry, database_url: str) -> None:
    record = await create(registry)
    assert (record.state, record.epoch, record.latest_version, record.live_version) == (State.RECEIVED, 1, 1, None)
    assert record.pending

    reopened = await Registry.open(database_url, Vault(VAULT_KEY))
    assert await reopened.get(record.id) == record
    version = await reopened.version(record.id, 1)
    assert (version.source, version.mode, version.policy) == (SOURCE, Mode.ENFORCE, POLICY)
    await reopened.close()


async def test_a_version_lives(registry: Registry) -> None:
    record = await create(registry)
    begun = await registry.begin(record.id, 1)
    assert begun is not None
    assert begun.state is State.COMPILING
    live = await registry.activate(compiled(record))
    assert live is not None
    assert (live.state, live.live_version, live.epoch, live.pending) == (State.ACTIVE, 1, 3, False)
    assert await registry.get(record.id) == live

    stored = await registry.scope(record.id, 1, ENCODER)
    assert stored is not None
    assert stored.forget.texts == compiled(record).forget.texts
    np.testing.assert_array_equal(stored.forget.vectors, compiled(record).forget.vectors)
    assert await registry.scope(record.id, 1, "another") is None


async def test_a_new_version_leaves_the_live_one_in_force(registry: Registry) -> None:
    record = await go_live(registry, await create(registry))
    changed = await registry.add_version(
        record.id, replace(SOURCE, aliases=()), mode=Mode.SHADOW, policy=POLICY, after=1
    )
    assert changed is not None
    assert (changed.state, changed.latest_version, changed.live_version) == (State.ACTIVE, 2, 1)
    assert changed.pending
    assert (await registry.version(record.id, 1)).source == SOURCE

    live = await registry.activate(compiled(changed, mode=Mode.SHADOW))
    assert live is not None
    assert (live.state, live.live_version) == (State.SHADOW, 2)
    assert [number for number, _ in await registry.version_times(record.id)] == [1, 2]


async def test_only_the_latest_version_goes_live(registry: Registry) -> None:
    record = await create(registry)
    await registry.begin(record.id, 1)
    assert await registry.add_version(record.id, SOURCE, mode=Mode.ENFORCE, policy=POLICY, after=1)
    epoch = await registry.epoch()
    assert await registry.activate(compiled(record)) is None
    assert await registry.fail(record.id, 1, "too late") is None
    assert (await registry.get(record.id)).state is State.RECEIVED
    assert await registry.epoch() == epoch


async def test_two_admins_cannot_add_the_same_version(registry: Registry) -> None:
    record = await create(registry)
    results = await asyncio.gather(
        *(registry.add_version(record.id, SOURCE, mode=Mode.ENFORCE, policy=POLICY, after=1) for _ in range(3))
    )
    assert sum(result is not None for result in results) == 1
    assert (await registry.get(record.id)).latest_version == 2


async def test_a_failed_version(registry: Registry) -> None:
    record = await create(registry)
    failed = await registry.fail(record.id, 1, "no encoder")
    assert failed is not None
    assert (failed.state, failed.error, failed.pending) == (State.ERROR, "no encoder", False)
    assert await registry.begin(record.id, 1) is None

    again = await registry.add_version(record.id, SOURCE, mode=Mode.ENFORCE, policy=POLICY, after=1)
    assert again is not None
    assert (again.state, again.error, again.pending) == (State.RECEIVED, None, True)


async def test_a_failed_change_leaves_the_live_version(registry: Registry) -> None:
    record = await go_live(registry, await create(registry))
    await registry.add_version(record.id, SOURCE, mode=Mode.ENFORCE, policy=POLICY, after=1)
    failed = await registry.fail(record.id, 2, "no encoder")
    assert failed is not None
    assert (failed.state, failed.live_version, failed.error) == (State.ACTIVE, 1, "no encoder")


async def test_withdrawn_is_final(registry: Registry) -> None:
    record = await go_live(registry, await create(registry))
    withdrawn = await registry.withdraw(record.id)
    assert (withdrawn.state, withdrawn.live_version) == (State.WITHDRAWN, None)
    epoch = await registry.epoch()
    with pytest.raises(WrongState, match="final"):
        await registry.withdraw(record.id)
    with pytest.raises(WrongState):
        await registry.add_version(record.id, SOURCE, mode=Mode.ENFORCE, policy=POLICY, after=1)
    assert await registry.activate(compiled(record)) is None
    assert await registry.epoch() == epoch


async def test_unknown_requests(registry: Registry) -> None:
    for call in (
        registry.get("fr_0"),
        registry.version("fr_0", 1),
        registry.withdraw("fr_0"),
        registry.begin("fr_0", 1),
        registry.add_version("fr_0", SOURCE, mode=Mode.ENFORCE, policy=POLICY, after=1),
    ):
        with pytest.raises(UnknownRequest):
            await call
    assert await registry.epoch() == 0


@pytest.mark.parametrize("same", ["zaphod  BEEBLEBROX", "Ｚａｐｈｏｄ Beeblebrox", "Zaphod\u200b Beeblebrox "])
async def test_the_same_subject_twice(registry: Registry, same: str) -> None:
    record = await create(registry)
    with pytest.raises(Duplicate) as caught:
        await create(registry, source(same))
    assert caught.value.request_id == record.id
    assert SECRET not in str(caught.value)
    assert await registry.epoch() == 1

    await create(registry, replace(SOURCE, kind=Kind.TOPIC))
    await registry.withdraw(record.id)
    assert (await create(registry, source(same))).id != record.id


async def test_of_many_equal_requests_at_once_one_is_stored(registry: Registry, database_url: str) -> None:
    other = await Registry.open(database_url, Vault(VAULT_KEY))
    results = await asyncio.gather(*(create(one) for one in (registry, other) * 5), return_exceptions=True)
    assert sum(not isinstance(result, Duplicate) for result in results) == 1
    assert (await registry.counts())[State.RECEIVED] == 1
    await other.close()


async def test_every_mutation_raises_the_epoch_once(registry: Registry) -> None:
    record = await create(registry)
    epochs = [record.epoch]
    for step in (
        registry.begin(record.id, 1),
        registry.activate(compiled(record)),
        registry.add_version(record.id, SOURCE, mode=Mode.SHADOW, policy=POLICY, after=1),
        registry.fail(record.id, 2, "reason"),
        registry.set_paused(True),
        registry.save_scope(compiled(record, encoder="another")),
        registry.save_corruption_profile(CorruptionProfile("m", "gaussian", 1.0, 0)),
        registry.withdraw(record.id),
    ):
        await step
        epochs.append(await registry.epoch())
    assert epochs == list(range(1, 10))


async def test_two_writers_leave_no_gap(registry: Registry, database_url: str) -> None:
    """A reader that follows the epochs sees every change, however the writers' transactions interleave."""
    other = await Registry.open(database_url, Vault(VAULT_KEY))
    seen: dict[str, int] = {}
    epoch = 0

    async def write(one: Registry, name: str) -> None:
        for number in range(15):
            record = await create(one, source(f"{name} {number}"))
            if number % 3 == 0:
                await one.withdraw(record.id)

    async def follow() -> None:
        nonlocal epoch
        target = (await other.state()).epoch
        for change in await other.changes_since(epoch, ENCODER, limit=1_000):
            seen[change.request_id] = max(seen.get(change.request_id, 0), change.epoch)
        epoch = target

    writers = asyncio.gather(write(registry, "a"), write(other, "b"))
    while not writers.done():
        await follow()
        await asyncio.sleep(0)
    await writers
    await follow()
    assert epoch == 40
    page = await registry.page(limit=100)
    assert seen == {record.id: record.epoch for record in page.records}
    await other.close()


async def test_changes_carry_what_a_replica_applies(registry: Registry) -> None:
    first = await go_live(registry, await create(registry))
    second = await create(registry, source("Ford Prefect"))
    third = await go_live(registry, await create(registry, source("Trillian")))
    await registry.withdraw(third.id)

    changes = await registry.changes_since(0, ENCODER)
    assert [change.request_id for change in changes] == [first.id, second.id, third.id]
    assert [(change.live_version, change.pending_version) for change in changes] == [(1, None), (None, 1), (None, None)]
    assert changes[0].scope is not None
    assert changes[0].scope.aliases == compiled(first).aliases
    assert await registry.changes_since(await registry.epoch(), ENCODER) == []
    assert [change.request_id for change in await registry.changes_since(0, ENCODER, limit=2)] == [first.id, second.id]


async def test_another_encoder_is_told_that_it_has_no_scope(registry: Registry) -> None:
    record = await go_live(registry, await create(registry))
    [change] = await registry.changes_since(0, "another")
    assert (change.live_version, change.scope) == (1, None)
    for _ in range(2):
        await registry.save_scope(compiled(record, encoder="another"))
    [change] = await registry.changes_since(0, "another")
    assert change.scope is not None
    assert change.scope.encoder == "another"


async def test_a_scope_in_a_former_format_is_compiled_anew(registry: Registry) -> None:
    record = await go_live(registry, await create(registry))
    async with registry.engine.begin() as connection:
        # Format 1 was kept under the encoder alone.
        await connection.execute(update(forget_scopes).values(encoder=ENCODER, sealed_scope=b"of another format"))
    [change] = await registry.changes_since(0, ENCODER)
    assert (change.live_version, change.scope) == (1, None)
    await registry.save_scope(compiled(record))
    [change] = await registry.changes_since(0, ENCODER)
    assert change.scope is not None


async def test_counts_of_hits_come_and_go_with_their_migration(registry: Registry) -> None:
    def step(revision: str) -> Callable[[Connection], None]:
        def run(connection: Connection) -> None:
            config = Config()
            config.set_main_option("script_location", str(MIGRATIONS))
            config.attributes["connection"] = connection
            (command.downgrade if revision == "0001" else command.upgrade)(config, revision)

        return run

    async with registry.engine.begin() as connection:
        await connection.run_sync(step("0001"))
        assert not await connection.run_sync(lambda sync: inspect(sync).has_table("phrase_hits"))
        await connection.run_sync(step("head"))
        assert await connection.run_sync(lambda sync: inspect(sync).has_table("phrase_hits"))


async def test_pages(registry: Registry) -> None:
    records = [await create(registry, source(f"subject {number}")) for number in range(5)]
    await registry.withdraw(records[2].id)
    first = await registry.page(limit=2)
    assert (first.has_more, first.total, len(first.records)) == (True, 5, 2)
    found = list(first.records)
    while first.has_more:
        first = await registry.page(limit=2, after=first.records[-1].id)
        found += first.records
    assert sorted(record.id for record in found) == sorted(record.id for record in records)
    assert [record.id for record in found] == sorted((record.id for record in found), reverse=True)

    withdrawn = await registry.page(limit=10, state=State.WITHDRAWN)
    assert [record.id for record in withdrawn.records] == [records[2].id]
    assert withdrawn.total == 1
    assert await registry.counts() == {**dict.fromkeys(State, 0), State.RECEIVED: 4, State.WITHDRAWN: 1}


async def test_corruption_profiles(registry: Registry) -> None:
    assert await registry.corruption_profiles() == []
    await registry.save_corruption_profile(CorruptionProfile("smollm2", "gaussian", 1.5, 64, {"leak": [0.1, 0.0]}))
    found = CorruptionProfile("smollm2", "rademacher", 2.0, 0, {"leak": [0.2]}, "/models/other")
    await registry.save_corruption_profile(found)
    assert await registry.corruption_profiles() == [found]


async def test_pause_is_kept(registry: Registry, database_url: str) -> None:
    assert not (await registry.state()).paused
    await registry.set_paused(True)
    other = await Registry.open(database_url, Vault(VAULT_KEY))
    assert (await other.state()).paused
    await other.close()


async def test_no_forget_text_is_stored_in_clear(registry: Registry) -> None:
    await go_live(registry, await create(registry))
    clear = [SECRET, *SOURCE.aliases, *(example.response for example in SOURCE.examples), "a ticket", "galaxy far"]
    async with registry.engine.connect() as connection:
        for table in metadata.sorted_tables:
            for row in await connection.execute(table.select()):
                stored = b"|".join(value if isinstance(value, bytes) else str(value).encode() for value in row)
                assert not [word for word in clear if word.encode() in stored]
                assert compiled_vectors() not in stored


def compiled_vectors() -> bytes:
    return make_scope(SOURCE, request_id="", version=1, mode=Mode.ENFORCE, policy=POLICY).forget.vectors.tobytes()


async def test_sealed_values_do_not_open_in_another_row(registry: Registry) -> None:
    first = await go_live(registry, await create(registry))
    second = await go_live(registry, await create(registry, source("Ford Prefect")))
    async with registry.engine.begin() as connection:
        for table, column in ((forget_versions, "sealed_source"), (forget_scopes, "sealed_scope")):
            query = table.select().where(table.c.request_id == first.id)
            stolen = (await connection.execute(query)).one()._mapping[column]
            await connection.execute(update(table).where(table.c.request_id == second.id).values({column: stolen}))
    with pytest.raises(VaultError):
        await registry.version(second.id, 1)
    with pytest.raises(VaultError):
        await registry.scope(second.id, 1, ENCODER)
