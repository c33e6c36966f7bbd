"""What the worker managers for Amazon Web Services have in common.

Each of them is a *place*: a few blocking calls to one service. ``AwsWorkers`` makes a backend of it: calls run in threads,
errors are told in words, and what AWS does not show yet, though it was started, is not taken for gone.
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from scaler.config import Option
from scaler.errors import ConfigurationError, ExtraMissingError
from scaler.manager.backend import Phase, Sighting, WorkerOrder
from scaler.net.daemon import log

MANAGER_TAG, WORKER_TAG, SLOTS_TAG = "scaler:worker-manager", "scaler:worker", "scaler:slots"
POLL_SECONDS = 5.0
SETTLE_SECONDS = 60.0
"""So long AWS may not show what it has started."""
FULL_SECONDS = 30.0
"""When AWS has nothing more to give, it is asked again after so long, and others are asked meanwhile."""
CALLS_AT_ONCE = 4
ATTEMPTS = 3
"""Of one request, within a few seconds."""
LONGEST_NAME = 80


def pair(text: str) -> tuple[str, str]:
    """An option's type: ``key=value``."""
    key, sign, value = text.partition("=")
    if not sign or not key or key.startswith(("scaler:", "aws:")):
        raise ValueError(f"{text!r} is no tag; write key=value, and no key that begins with scaler: or aws:")
    return key, value


def amount(text: str) -> float:
    """An option's type: a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise ValueError(f"{text!r} is no number above 0")
    return number


ACCESS = (
    Option("aws_region", "where, eu-central-1 for instance; as boto3 finds it without it"),
    Option("aws_access_key_id", "the credentials to use, with the next one; as boto3 finds them without it"),
    Option("aws_secret_access_key", "better told in the environment or in a file, where not everybody sees it"),
    Option("aws_endpoint_url", "where the services are, if not at Amazon: for private clouds and tests"),
    Option("aws_tags", "further tags for all that is started, for bills for instance", (), pair, many=True),
)
"""Options of all these managers."""

_KEYS = "check the credentials that boto3 finds (AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws, the role of this machine)"
_LATER = "AWS wants fewer requests; it is tried again later"
_FULL = "AWS has no such capacity at the moment; it is tried again later, other subnets, types or sizes may have some"
_QUOTA = "a quota of the account is reached; lower --max-workers, or have it raised (AWS console, Service Quotas)"
_RIGHTS = "the credentials do not allow this; the permissions that a manager needs are in docs/aws.md"
HINTS = {
    "ExpiredToken": "the credentials have expired; renew them, with 'aws sso login' for instance",
    "ExpiredTokenException": "the credentials have expired; renew them, with 'aws sso login' for instance",
    "RequestExpired": "the credentials have expired, or the clock of this machine is wrong",
    "AuthFailure": _KEYS,
    "InvalidClientTokenId": _KEYS,
    "UnrecognizedClientException": _KEYS,
    "SignatureDoesNotMatch": _KEYS,
    "InvalidSignatureException": _KEYS,
    "NoCredentialsError": _KEYS,
    "PartialCredentialsError": _KEYS,
    "CredentialRetrievalError": _KEYS,
    "UnauthorizedOperation": _RIGHTS,
    "AccessDenied": _RIGHTS,
    "AccessDeniedException": _RIGHTS,
    "RequestLimitExceeded": _LATER,
    "Throttling": _LATER,
    "ThrottlingException": _LATER,
    "TooManyRequestsException": _LATER,
    "EndpointConnectionError": "check --aws-region, --aws-endpoint-url, and the network of this machine",
    "NoRegionError": "say --aws-region, or set AWS_REGION",
    "InsufficientInstanceCapacity": _FULL,
    "InsufficientHostCapacity": _FULL,
    "SpotMaxPriceTooLow": _FULL,
    "VcpuLimitExceeded": _QUOTA,
    "InstanceLimitExceeded": _QUOTA,
    "MaxSpotInstanceCountExceeded": _QUOTA,
    "LimitExceededException": _QUOTA,
}
"""By what AWS or boto3 calls an error: what to do about it."""
NO_CAPACITY = frozenset(code for code, hint in HINTS.items() if hint == _FULL)
FULL = NO_CAPACITY | {code for code, hint in HINTS.items() if hint == _QUOTA}
NOT_ALLOWED = frozenset(code for code, hint in HINTS.items() if hint == _RIGHTS)


class AwsError(OSError):
    """AWS did not do what it was asked for, with reasons for people."""


class NoCapacityError(AwsError):
    """There is no room for another one at present."""


class Session:
    """Clients for one account and region. Raises ExtraMissingError without boto3, ConfigurationError without a region."""

    def __init__(self, kind: str, options: Namespace) -> None:
        try:
            import boto3
            import botocore.exceptions
            from botocore.config import Config
        except ImportError:
            raise ExtraMissingError(f"{kind} needs boto3: pip install 'opengris-scaler[aws]'") from None
        self.kind = kind
        self.errors: tuple[type[Exception], ...] = (
            botocore.exceptions.ClientError,
            botocore.exceptions.BotoCoreError,
            OSError,
        )
        self._endpoint = options.aws_endpoint_url or None
        # "standard" tries again what was throttled or timed out, at growing intervals; the manager does so, too.
        self._config = Config(
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            connect_timeout=10,
            read_timeout=30,
            user_agent_extra="scaler",
        )
        try:
            self._session = boto3.Session(
                aws_access_key_id=options.aws_access_key_id or None,
                aws_secret_access_key=options.aws_secret_access_key or None,
                region_name=options.aws_region or os.environ.get("AWS_REGION"),
            )
        except botocore.exceptions.BotoCoreError as error:
            raise ConfigurationError(self.explain(error)) from None
        if not self._session.region_name:
            raise ConfigurationError(f"{kind}: no region; {HINTS['NoRegionError']}")

    def client(self, service: str) -> Any:
        """Of boto3. Raises ConfigurationError."""
        try:
            return self._session.client(service, endpoint_url=self._endpoint, config=self._config)
        except self.errors as error:
            raise ConfigurationError(self.explain(error)) from None

    def explain(self, error: Exception) -> str:
        """What went wrong, where, and what to do about it, in one line."""
        response = getattr(error, "response", None) or {}
        told = response.get("Error", {})
        code = told.get("Code", type(error).__name__)
        said = f"{getattr(error, 'operation_name', '?')}: {code}: {told.get('Message', '')}" if told else str(error)
        region = getattr(getattr(self, "_session", None), "region_name", None)
        where = f"{self.kind} in {region}" if region else self.kind
        return " ".join("; ".join(filter(None, (f"{where}: {said}", HINTS.get(code, "")))).split())


def code_of(error: Exception) -> str:
    """What AWS calls an error."""
    return str((getattr(error, "response", None) or {}).get("Error", {}).get("Code", ""))


def words(entries: Iterable[str]) -> list[str]:
    """Of an option with several values, which may also be given as one, with commas."""
    return [word.strip() for entry in entries for word in entry.split(",") if word.strip()]


def requirements(text: str) -> list[str]:
    """What to install: separated by semicolons, as a list in one text."""
    return [entry.strip() for entry in text.replace("\n", ";").split(";") if entry.strip()]


def check_limits(options: Namespace) -> None:
    """Raises ConfigurationError for a manager that could start any number, or whose name does not fit into a tag."""
    if not options.max_task_concurrency and not options.max_workers and not options.sweep:
        raise ConfigurationError("say --max-task-concurrency or --max-workers: what is started costs money")
    name = options.worker_manager_id or ""
    if name and not re.fullmatch(rf"[\w.-]{{1,{LONGEST_NAME}}}", name, re.ASCII):
        text = f"--worker-manager-id: {name!r} is no name for AWS; take at most {LONGEST_NAME} letters, digits, - _ ."
        raise ConfigurationError(text)
    twice = [key for key, times in Counter(key for key, _ in options.aws_tags).items() if times > 1]
    if twice:
        raise ConfigurationError(f"--aws-tags: {twice[0]} is there twice")
    if bool(options.aws_access_key_id) != bool(options.aws_secret_access_key):
        raise ConfigurationError("--aws-access-key-id and --aws-secret-access-key need each other")


def check_network(session: Session, subnets: Sequence[str], groups: Sequence[str]) -> None:
    """Whether these are there, as far as the credentials allow to look. Raises what boto3 raises."""
    ec2 = session.client("ec2")
    try:
        if subnets:
            ec2.describe_subnets(SubnetIds=list(subnets))
        if groups:
            ec2.describe_security_groups(GroupIds=list(groups))
    except session.errors as error:
        if code_of(error) not in NOT_ALLOWED:
            raise


def tags(manager: str, order: WorkerOrder, further: Iterable[tuple[str, str]]) -> dict[str, str]:
    """What everything that is started for a worker is marked with."""
    return {**dict(further), MANAGER_TAG: manager, WORKER_TAG: order.name, SLOTS_TAG: str(order.slots)}


@dataclass(frozen=True, slots=True)
class Resource:
    """An instance, a task or a job, of one worker."""

    id: str
    name: str
    """Of the worker."""
    phase: Phase
    slots: int = 0
    story: str = ""
    """How it ended, or what keeps it from running."""
    orderly: bool = False
    leaving: bool = False

    @classmethod
    def tagged(cls, id: str, found: Mapping[str, str], phase: Phase, **more: Any) -> Resource:
        """With what its tags tell."""
        slots = found.get(SLOTS_TAG, "")
        return cls(id, found.get(WORKER_TAG, id), phase, int(slots) if slots.isdecimal() else 0, **more)


class Place(Protocol):
    """One service of AWS. All methods block, and raise what boto3 raises, or AwsError."""

    noun: str
    """What a worker is there: ``instance``."""

    def prepare(self) -> int:
        """Once, first: look whether all is there; returns how many slots fit into one. Raises ConfigurationError also."""

    def describe(self, order: WorkerOrder) -> str:
        """What start() would do about it, for people."""

    def start(self, order: WorkerOrder) -> str:
        """Returns its id. Asked twice for the same order, by a request that was repeated, it starts one only."""

    def look(self, known: Collection[str]) -> list[Resource]:
        """All of this manager's that there are, and those with these ids, if there is something to be known of them."""

    def stop(self, ids: Sequence[str]) -> None:
        """End them, whether they run yet or not."""


@dataclass(slots=True)
class _Known:
    id: str
    slots: int
    phase: Phase
    seen: float
    """When AWS showed it last, or began to start it."""


class AwsWorkers:
    """A scaler.manager.backend.Backend for one place."""

    def __init__(self, session: Session, place: Place, options: Namespace) -> None:
        self.poll_seconds = POLL_SECONDS
        self.changed: Callable[[], None] = lambda: None
        self.worker_slots = 1
        self._session = session
        self._place = place
        self._most = options.max_task_concurrency
        self._most_workers = options.max_workers
        self._given = options.slots_per_worker
        self._only_sweeps = options.sweep
        self._known: dict[str, _Known] = {}
        """By the workers' names: those that there are."""
        self._to_end: set[str] = set()
        """Ids that could not be stopped so far."""
        self._warned: set[str] = set()
        self._full_until = float("-inf")
        self._few = asyncio.Semaphore(CALLS_AT_ONCE)

    @property
    def most_slots(self) -> int:
        """See Backend: the user's limit; what there is, when AWS has no more at the moment."""
        if time.monotonic() < self._full_until:
            return sum(known.slots for known in self._known.values())
        return int(self._most or self._most_workers * (self._given or self.worker_slots))

    async def prepare(self) -> None:
        """See Backend. To end what is there nothing has to be there to start more."""
        if self._only_sweeps:
            return
        try:
            self.worker_slots = await asyncio.to_thread(self._place.prepare)
        except self._session.errors as error:
            raise ConfigurationError(self._session.explain(error)) from None

    def describe(self, order: WorkerOrder) -> str:
        """See Backend."""
        return f"{self._place.describe(order)}, {order.slots} slots, as {order.name}"

    async def start(self, orders: Sequence[WorkerOrder]) -> list[Sighting]:
        """See Backend."""
        return await asyncio.gather(*map(self._start, orders))

    async def _start(self, order: WorkerOrder) -> Sighting:
        async with self._few:
            try:
                id = await asyncio.to_thread(self._place.start, order)
            except self._session.errors as error:
                if code_of(error) in FULL or isinstance(error, NoCapacityError):
                    self._full_until = time.monotonic() + FULL_SECONDS
                story = f"no {self._place.noun} could be started: {self._session.explain(error)}"
                return Sighting(order.name, Phase.ENDED, story=story)
        self._known[order.name] = _Known(id, order.slots, Phase.PENDING, time.monotonic())
        return Sighting(order.name, Phase.PENDING, order.slots, self._label(id))

    async def stop(self, names: Sequence[str]) -> None:
        """See Backend. What cannot be stopped now is tried again whenever list() is called, and at the end."""
        self._to_end.update(self._known[name].id for name in names if name in self._known)
        await self._end()

    async def _end(self) -> None:
        if self._to_end:
            ids = sorted(self._to_end)
            await self._call(self._place.stop, ids)
            self._to_end.difference_update(ids)

    async def list(self) -> list[Sighting]:
        """See Backend."""
        found = await self._call(self._place.look, {known.id for known in self._known.values()})
        now, seen, names = time.monotonic(), [], set()
        for resource in found:
            known = self._known.get(resource.name)
            if resource.phase == Phase.ENDED:
                if known is None or known.id != resource.id:
                    continue  # It has been told before, or an earlier manager knew it.
                del self._known[resource.name]
            elif known is not None and known.id != resource.id:
                log.warning("there are two of %s; %s ends", resource.name, self._label(resource.id))
                self._to_end.add(resource.id)
                continue
            else:
                self._known[resource.name] = _Known(resource.id, resource.slots, resource.phase, now)
                self._warn(resource)
            names.add(resource.name)
            seen.append(self._sighting(resource))
        seen += self._not_shown(names, now)
        await self._end()
        return seen

    def _warn(self, resource: Resource) -> None:
        """Once of each reason why something does not begin."""
        if resource.story and resource.story not in self._warned:
            self._warned.add(resource.story)
            log.warning("%s %s", self._label(resource.id), resource.story)

    def _not_shown(self, shown: Collection[str], now: float) -> Sequence[Sighting]:
        """What was there just now is taken to be there; after a while it is forgotten."""
        hidden = {name: known for name, known in self._known.items() if name not in shown}
        for name, known in list(hidden.items()):
            if now - known.seen > SETTLE_SECONDS:
                del hidden[name], self._known[name]
        return [Sighting(name, known.phase, known.slots, self._label(known.id)) for name, known in hidden.items()]

    async def close(self) -> None:
        """See Backend. AWS ends by itself what it was told to end."""
        try:
            await self._end()
        except OSError as error:
            log.warning("%s; these may go on, and cost money: %s", error, ", ".join(sorted(self._to_end)))

    # ---- words and threads

    def _label(self, id: str) -> str:
        return f"{self._place.noun} {id.rsplit('/', 1)[-1]}"

    def _sighting(self, resource: Resource) -> Sighting:
        label = self._label(resource.id)
        story = f"{label} {resource.story}" if resource.phase == Phase.ENDED else ""
        return Sighting(
            resource.name,
            resource.phase,
            resource.slots,
            label,
            story,
            orderly=resource.orderly,
            leaving=resource.leaving,
        )

    async def _call(self, what: Callable[..., Any], *arguments: Any) -> Any:
        """In a thread. Raises OSError, with words, for what AWS does not do."""
        try:
            return await asyncio.to_thread(what, *arguments)
        except self._session.errors as error:
            raise AwsError(self._session.explain(error)) from None
