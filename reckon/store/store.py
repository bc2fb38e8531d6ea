"""The ledger on disk. One transaction reads it, lets a pure function decide, and writes the plan.

`commit_poll` is the only way money enters. Reading happens inside the transaction that writes, and while one replica
decides no other does (SQLite's transaction is exclusive by itself), so no plan is ever made from something already out
of date. What keeps them apart is a lock of its own and not one on the owners: those are claimed by skipping what is
locked, and a replica would find nothing to claim while another decides.

Every unit may be run again after a deadlock, a broken connection or a commit whose outcome is unknown: the decision is
pure, a poll that is already in the ledger changes nothing the second time, and a message is known by its intent.
"""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Final, Self, TypeVar
from zoneinfo import ZoneInfo

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError, OperationalError, SQLAlchemyError

from reckon.core.analytics_plan import AccountDay, KeyHours
from reckon.core.digest import DigestPlan
from reckon.core.generations import Handed, Intake, Pending
from reckon.core.noticing import days_told
from reckon.core.outbox import Delivery, DeliveryState, Outgoing
from reckon.core.plans import LedgerPolicy, Plan, State
from reckon.core.polls import Poll
from reckon.core.records import WatchedKey
from reckon.core.settlement import SettlePlan, SettlePolicy
from reckon.errors import StoreError
from reckon.store import analytics, claims, generations, leases, outbox, pending, rollups, rows
from reckon.store.claims import Claim
from reckon.store.leases import DELIVER
from reckon.store.lock import WriterLock
from reckon.store.plan_writing import write_plan
from reckon.store.reading import HOLD_PREFIX, Reading
from reckon.store.schema import migrate, require_current
from reckon.store.tables import DUE
from reckon.store.writing import upsert_rows

_ATTEMPTS: Final = 4
_DECIDING: Final = 5_267_614_952  # any number that nobody else uses for a Postgres advisory lock

_Read = TypeVar("_Read")
_Decided = TypeVar("_Decided")
_Done = TypeVar("_Done")


class Store:
    """The ledger. Made by `open_store`; use it as a context manager, or `close` it."""

    def __init__(self, name: str, writer: Engine, readers: Engine, lock: WriterLock | None = None) -> None:
        self.name = name
        """What a person would call this database: a path, or a URL without its password."""
        self._writer = writer
        self._readers = readers
        self._lock = lock
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="ledger")
        """Where jobs use the ledger from. Not the event loop's own threads: a name server that hangs can fill those."""

        self.reporters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="reports")
        """Where reports are made: one that takes long must not hold up a poll."""

    def prepare(self, *, writes: bool) -> None:
        """Bring the schema up to date, or without *writes* refuse any but ours.

        Raises:
            StoreMissing: there is no ledger.
            StoreError: it is another release's, or does not answer.
        """
        with self._translated():
            if writes:
                migrate(self._writer, self.name)
            else:
                require_current(self._readers, self.name)

    # --- Deciding ----------------------------------------------------------------------------------------------------

    def transact(
        self,
        read: Callable[[Reading], _Read],
        decide: Callable[[_Read], _Decided],
        write: Callable[[Connection, _Decided], None],
    ) -> _Decided:
        """Read, let *decide* make a plan, write it, and return it: one transaction, while nobody else decides.

        Raises:
            StoreError: the database could not be written, after a few tries. Then nothing was.
        """

        def unit(connection: Connection) -> _Decided:
            _let_nobody_else_decide(connection)
            plan = decide(read(Reading(connection)))
            write(connection, plan)
            return plan

        return self._commit(unit)

    def commit_poll(
        self,
        decide: Callable[[State], Plan],
        policy: LedgerPolicy,
        now: datetime,
        *,
        seen: Poll | None = None,
        watched: Sequence[WatchedKey] = (),
        claim: Claim | None = None,
        next_due: datetime | None = None,
    ) -> Plan:
        """Let *decide* make a plan from the ledger as it stands, write it, and return it.

        Args:
            decide: the decision.
            policy: the ledger's settings.
            now: the instant of the poll.
            seen: what the poll brought, where it is also to be judged.
            watched: the whole owner map, likewise.
            claim: whose keys were asked. It ends with the commit.
            next_due: when the owners of the claim are to be polled next; None leaves that as it was.

        Raises:
            Superseded: another replica has taken over an owner of the claim. Nothing was written.
            StoreError: the database could not be written, after a few tries. Then nothing was, and the next poll's
                delta spans the gap.
        """

        def read(ledger: Reading) -> tuple[Reading, State]:
            if claim:
                claims.require(ledger.connection, claim)
            return ledger, ledger.state(policy, now, seen, watched)

        def decide_and_tell(found: tuple[Reading, State]) -> Plan:
            ledger, state = found
            plan = decide(state)
            days = days_told(plan.alerts) if plan.outgoing else None
            if not days:
                return plan
            # What drives it is read only now that there is something to tell: the decision stays the same.
            calls = ledger.calls_of_days(days, policy.zone)
            return decide(replace(state, noticing=replace(state.noticing, calls=calls))) if calls else plan

        def write(connection: Connection, plan: Plan) -> None:
            write_plan(connection, plan)
            if claim:
                claims.finish(connection, claim, next_due)

        return self.transact(read, decide_and_tell, write)

    def commit_digest(
        self, read: Callable[[Reading], _Read], decide: Callable[[_Read], DigestPlan], now: datetime
    ) -> DigestPlan:
        """Let *decide* make what it will of what *read* finds, write what it says is due and to be said, and return it.

        Raises:
            StoreError: the database could not be written, after a few tries. Then nothing was.
        """

        def write(connection: Connection, plan: DigestPlan) -> None:
            outbox.add(connection, plan.outgoing, now)
            reported = [{"what": what, "value": day.isoformat()} for what, day in plan.due.items()]
            upsert_rows(connection, DUE, reported, key=("what",))

        return self.transact(read, decide, write)

    # --- Claims ------------------------------------------------------------------------------------------------------

    def claim_owners(
        self,
        owners: Collection[str],
        now: datetime,
        *,
        holder: str,
        lease: timedelta,
        every: timedelta,
        all_due: bool = False,
        most: int | None = None,
    ) -> Claim:
        """Claim those of *owners* whose keys are to be polled now, and that no other replica is polling.

        An owner that the ledger has not met is due. End the claim by `commit_poll`, or `release` it; if neither comes,
        others may claim the same owners once the lease has run out. SQLite knows no leases: it has one writing process.

        Args:
            owners: whom to choose from.
            now: the instant of the poll.
            holder: the name of this replica, which no other has.
            lease: how long the claim holds, by the database's clock.
            every: how far ahead an owner is made due at most; one further away was written by a clock that was ahead.
            all_due: claim them whether they are due or not.
            most: how many to claim at most.

        Raises:
            StoreError: the database could not be written.
        """
        return self._commit(
            lambda connection: claims.claim(
                connection, owners, now, holder=holder, lease=lease, every=every, all_due=all_due, most=most
            )
        )

    def renew(self, claim: Claim, lease: timedelta) -> None:
        """Let what is still ours of a claim hold for *lease* from now on; what another has taken over stays theirs.

        Raises:
            StoreError: the database could not be written.
        """
        if self.is_shared:
            self._commit(lambda connection: claims.renew(connection, claim, lease))

    def release(self, claim: Claim) -> None:
        """Give back what is still ours of a claim without having polled: its owners are due as they were.

        Raises:
            StoreError: the database could not be written.
        """
        if self.is_shared:
            self._commit(lambda connection: claims.release(connection, claim))

    def next_due(self, owners: Collection[str]) -> datetime | None:
        """Return when the first of *owners* is due; None if one of them has never been polled.

        Raises:
            StoreError: the database could not be read.
        """
        with self.reading() as ledger:
            return claims.next_due(ledger.connection, owners)

    def take(self, what: str, holder: str, lease: timedelta) -> bool:
        """Take *what* for this replica alone, or keep it for longer; return whether it is now ours.

        On SQLite it always is.

        Raises:
            StoreError: the database could not be written.
        """
        if not self.is_shared:
            return True
        return self._commit(lambda connection: leases.take(connection, what, holder, lease))

    def give_back(self, what: str, holder: str) -> None:
        """Let another replica take *what* at once, if it is ours.

        Raises:
            StoreError: the database could not be written.
        """
        if self.is_shared:
            self._commit(lambda connection: leases.give_back(connection, what, holder))

    # --- The outbox --------------------------------------------------------------------------------------------------

    def outbox(self) -> list[Delivery]:
        """Return the messages that are waiting or being sent, oldest first.

        Raises:
            StoreError: the database could not be read.
        """
        with self.reading() as ledger:
            return ledger.outbox()

    def last_attempts(self) -> dict[str | None, datetime]:
        """Return when a message to each place was last begun.

        Raises:
            StoreError: the database could not be read.
        """
        with self.reading() as ledger:
            return ledger.last_attempts()

    def enqueue(self, outgoing: Iterable[Outgoing], now: datetime) -> None:
        """Add messages to the outbox, due at once; those whose intent is known are not added again.

        Raises:
            StoreError: the database could not be written. Then nothing was.
        """
        messages = tuple(outgoing)
        self._commit(lambda connection: outbox.add(connection, messages, now))

    def record_delivery(self, delivery: Delivery, holder: str | None = None) -> None:
        """Write down how far *delivery* has come; when this returns, no crash undoes it.

        Args:
            delivery: as it stands now.
            holder: the replica that has taken `DELIVER`, where there may be others. To write that a message is being
                sent its lease has to be running; to write what came of it, nobody else may have taken over.

        Raises:
            Superseded: another replica delivers, or may. Nothing was written.
            StoreError: the database could not be written. Then nothing was.
        """

        def unit(connection: Connection) -> None:
            if holder is not None and leases.are_kept(connection):
                leases.require(connection, DELIVER, holder, running=delivery.state is DeliveryState.SENDING)
            outbox.record(connection, delivery)

        self._commit(unit)

    def hold(self, sink: str, until: datetime) -> None:
        """Remember that *sink* asked to be left alone until an instant.

        Raises:
            StoreError: the database could not be written.
        """
        held = {"what": HOLD_PREFIX + sink, "due_at": rows.seconds(until)}
        self._commit(lambda connection: upsert_rows(connection, DUE, [held], key=("what",)))

    # --- Generations -------------------------------------------------------------------------------------------------

    def hand_in(
        self, handed: Sequence[Handed], policy: SettlePolicy, now: datetime, watched: Sequence[WatchedKey] = ()
    ) -> Intake:
        """Write down generations whose cost is to be asked for, and say how many of them are new.

        One that is pending, expired or settled is a duplicate, and so is the second of the same id. A duplicate adds
        what was not known: facts, and the owner and key if nobody had said whose it is; but nothing to one that has
        settled, unless it is told at another cost: then that is asked for again.

        Args:
            handed: what was handed in together.
            policy: when to ask.
            now: the instant it came.
            watched: the owner map, whose keys need not have been seen by the ledger.

        Raises:
            StoreError: the database could not be written. Then nothing was.
        """
        return self._commit(lambda connection: pending.hand_in(connection, handed, policy, now, watched))

    def claim_pending(
        self,
        now: datetime,
        *,
        holder: str,
        lease: timedelta,
        most: int,
        longest: timedelta,
        besides: Collection[str] = (),
    ) -> list[Pending]:
        """Claim generations that are due and that no other replica asks for, earliest due first.

        End the claim by `commit_settlement` or `release_pending`; if neither comes, others may claim the same ones once
        the lease has run out. SQLite knows no leases: who has some of them in hand says so by *besides*.

        Args:
            now: the instant of the lookups.
            holder: the name of this replica, which no other has.
            lease: how long the claim holds, by the database's clock.
            most: how many to claim at most.
            longest: how far ahead one is made due at most; one further away was written by a clock that was ahead.
            besides: ids to leave alone.

        Raises:
            StoreError: the database could not be written.
        """
        return self._commit(
            lambda connection: pending.claim(
                connection, now, holder=holder, lease=lease, most=most, besides=besides, longest=longest
            )
        )

    def release_pending(self, ids: Collection[str], holder: str) -> None:
        """Give back what is still ours of some claimed generations without having asked: they are due as they were.

        Raises:
            StoreError: the database could not be written.
        """
        if self.is_shared and ids:
            self._commit(lambda connection: pending.release(connection, ids, holder))

    def next_lookup_due(self, besides: Collection[str] = ()) -> datetime | None:
        """Return when a generation besides some may next be claimed; None where none waits.

        Raises:
            StoreError: the database could not be read.
        """
        with self.reading() as ledger:
            return pending.next_due(ledger.connection, besides)

    def commit_settlement(self, plan: SettlePlan, zone: ZoneInfo, *, holder: str) -> None:
        """Write down what some lookups decided; when this returns, no crash undoes it.

        What settled is written once and counted in the rollups of *zone*, and nobody asks for it any more; one that had
        settled before at another cost is corrected. It knows what was handed in while it was asked for. The others
        wait, or are given up, as the plan says, unless another replica than *holder* has taken them over.

        Raises:
            StoreError: the database could not be written, after a few tries. Then nothing was.
        """

        def unit(connection: Connection) -> None:
            generations.let_nobody_else_count(connection)
            rollups.keep_in(connection, zone)
            generations.write(connection, pending.take_out(connection, plan.settled), zone)
            pending.reschedule(connection, plan.waiting, holder)

        self._commit(unit)

    def ask_again(self, ids: Collection[str] | None, policy: SettlePolicy, now: datetime) -> int:
        """Let generations that were given up, those of *ids* or all, be asked for anew; return how many those are.

        Raises:
            StoreError: the database could not be written. Then nothing was.
        """
        return self._commit(lambda connection: pending.ask_again(connection, ids, policy, now))

    def keep_rollups_in(self, zone: ZoneInfo) -> None:
        """Make the sums by day and month anew, unless they are those of *zone*: reports read them instead of the rows.

        Raises:
            StoreError: the database could not be written. Then they are as they were.
        """

        def unit(connection: Connection) -> None:
            generations.let_nobody_else_count(connection)
            rollups.keep_in(connection, zone)

        self._commit(unit)

    # --- Analytics ---------------------------------------------------------------------------------------------------

    def keep_analytics(
        self, hours: Collection[KeyHours] = (), days: Sequence[AccountDay] = (), read_again: date | None = None
    ) -> None:
        """Write down what analytics told, over what it told before.

        Args:
            hours: of keys, within spans; those that the ledger does not know are left out.
            days: of the whole account.
            read_again: a UTC day that is complete now, and will not be asked for any more.

        Raises:
            StoreError: the database could not be written. Then nothing was.
        """

        def unit(connection: Connection) -> None:
            analytics.write_hours(connection, hours)
            analytics.write_days(connection, days)
            if read_again:
                analytics.write_reread(connection, read_again)

        self._commit(unit)

    # --- Reading, and the rest ---------------------------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[Reading]:
        """Yield the ledger as of one instant, while others may go on writing.

        Raises:
            StoreError: the database could not be read.
        """
        with self._translated(), self._readers.connect() as connection:
            if connection.dialect.name == "postgresql":
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            with connection.begin():
                yield Reading(connection)

    def damage(self) -> list[str]:
        """Return what the database itself finds wrong with its file; Postgres has no such check.

        Raises:
            StoreError: the damage is such that the database cannot even be asked.
        """
        if self._readers.dialect.name != "sqlite":
            return []
        with self._translated(), self._readers.connect() as connection:
            found = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(20)"))]
            found += [f"foreign key: {row}" for row in connection.execute(text("PRAGMA foreign_key_check"))]
        return [line for line in found if line != "ok"]

    def close(self) -> None:
        """Close every connection and release the writer's lock."""
        self.reporters.shutdown(cancel_futures=True)
        self.thread.shutdown()
        self._writer.dispose()
        self._readers.dispose()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def is_shared(self) -> bool:
        """Whether several replicas may work on this database at once."""
        return self._writer.dialect.name == "postgresql"

    def _commit(self, unit: Callable[[Connection], _Done]) -> _Done:
        """Run *unit* in a transaction of its own, again and whole where it might do better; return what it returns."""
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self._writer.begin() as connection:
                    return unit(connection)
            except (OperationalError, IntegrityError) as error:
                # A deadlock, a lost connection, another replica that was first.
                if attempt == _ATTEMPTS:
                    raise self._refused(error) from error
            except SQLAlchemyError as error:
                raise self._refused(error) from error
        raise AssertionError("unreachable: the last attempt returns or raises")

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise self._refused(error) from error

    def _refused(self, error: SQLAlchemyError) -> StoreError:
        original = error.orig if isinstance(error, DBAPIError) else error
        reason = (str(original).strip() or type(original).__name__).splitlines()[0]
        return StoreError(f"{self.name}: {reason}")


def _let_nobody_else_decide(connection: Connection) -> None:
    """Wait until no other replica decides, and keep all of them from it until we have committed."""
    if leases.are_kept(connection):
        connection.execute(select(func.pg_advisory_xact_lock(_DECIDING)))
