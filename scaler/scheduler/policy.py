"""What an operator may say about policy: ``allocate=even_load; scaling=vanilla``, or the rules of a waterfall."""

from __future__ import annotations

from dataclasses import dataclass

from scaler.errors import ConfigurationError

ALLOCATIONS = ("even_load", "capability")
SCALINGS = ("no", "vanilla", "capability")
ENGINES = ("simple", "waterfall_v1")


@dataclass(frozen=True, slots=True)
class Rule:
    """One step of a waterfall: this worker manager, up to so many slots."""

    priority: int
    """Smaller ones are filled first."""
    manager: str
    max_slots: int


@dataclass(frozen=True, slots=True)
class Policy:
    """Both allocations spread tasks evenly over the workers that offer what they ask for.

    Scaling speaks to dynamic worker managers; fixed ones keep their number of slots.
    """

    allocate: str = "even_load"
    scaling: str = "vanilla"
    rules: tuple[Rule, ...] = ()
    """Of a waterfall, by priority; managers that have no rule are not used then."""


DEFAULT_POLICY = Policy()


def parse_policy(engine: str, content: str) -> Policy:
    """Raises ConfigurationError, naming the part or line, for a text that is no policy."""
    if engine == "simple":
        return _simple(content)
    if engine == "waterfall_v1":
        return Policy(rules=_rules(content))
    raise ConfigurationError(f"unknown policy engine {engine!r}; known: {', '.join(ENGINES)}")


def _simple(content: str) -> Policy:
    said: dict[str, str] = {}
    for part in filter(None, (part.strip() for part in content.split(";"))):
        name, sign, value = (piece.strip() for piece in part.partition("="))
        if not sign:
            raise ConfigurationError(f"policy {content!r}: {part!r} is not of the form name=value")
        known = {"allocate": ALLOCATIONS, "scaling": SCALINGS}.get(name)
        if known is None:
            raise ConfigurationError(f"policy {content!r}: unknown name {name!r}; known: allocate, scaling")
        if value not in known:
            raise ConfigurationError(f"policy {content!r}: {name}={value!r} is none of {', '.join(known)}")
        said[name] = value
    return Policy(said.get("allocate", "even_load"), said.get("scaling", "vanilla"))


def _rules(content: str) -> tuple[Rule, ...]:
    """One a line, or with semicolons between them: ``priority,worker_manager_id,max_task_concurrency``; # begins a comment."""
    rules: list[Rule] = []
    for number, line in enumerate(content.replace(";", "\n").splitlines(), 1):
        text = line.partition("#")[0].strip()
        if text:
            rules.append(_rule(f"policy, rule {number} {text!r}", text))
    names = [rule.manager for rule in rules]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ConfigurationError(f"policy: worker manager {twice!r} has two rules")
    if not rules:
        raise ConfigurationError("policy: a waterfall needs a rule: priority,worker_manager_id,max_task_concurrency")
    return tuple(sorted(rules, key=lambda rule: rule.priority))


def _rule(where: str, text: str) -> Rule:
    parts = [part.strip() for part in text.split(",")]
    if len(parts) != 3 or not parts[1]:
        raise ConfigurationError(f"{where}: it is not of the form priority,worker_manager_id,max_task_concurrency")
    priority, manager, most = parts
    try:
        rule = Rule(int(priority), manager, int(most))
    except ValueError:
        raise ConfigurationError(f"{where}: priority and max_task_concurrency are whole numbers") from None
    if rule.max_slots < 1:
        raise ConfigurationError(f"{where}: max_task_concurrency is less than 1")
    return rule
