"""Who may see a dataset: the rule of a dataset, the visitor who asks, and the one function that decides.

`may_see` is pure. `cxg.web.access` finds the rule and the visitor, for every route.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

EVERYONE, SIGNED_IN = "everyone", "signed-in"
USER_PREFIX = "user:"

VISIBLE_TO_EXPECTED = f"{EVERYONE}, {SIGNED_IN} or a list of groups and users"
PUBLIC_FROM_EXPECTED = "a date and its time zone, such as 2026-12-01T09:00+01:00"

_MOMENT = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d(?::\d\d)?))? ?(Z|UTC|[+-]\d\d:\d\d)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as a verified source says; without a user, nobody is signed in.

    Attributes
    ----------
    has_link : bool
        Whether a link of `cxg share` opens the dataset that is asked about.
    """

    user: str | None = None
    email: str | None = None
    groups: frozenset[str] = frozenset()
    has_link: bool = False

    @property
    def is_signed_in(self) -> bool:
        """Whether the source knows who it is."""
        return self.user is not None


ANONYMOUS = Visitor()


@dataclass(frozen=True, slots=True)
class Rule:
    """Who may see a dataset.

    Attributes
    ----------
    visible_to : tuple of str
        (EVERYONE,), (SIGNED_IN,), or groups, `user:NAME` and e-mail addresses; empty: nobody.
    public_from : datetime or None
        From then on everyone may; before, those of `visible_to`, and nobody if that is everyone.
    """

    visible_to: tuple[str, ...] = (EVERYONE,)
    public_from: datetime | None = None

    def is_public(self, now: datetime) -> bool:
        """Tell whether everyone may see the dataset."""
        if self.public_from is None:
            return self.visible_to == (EVERYONE,)
        return now >= self.public_from


PUBLIC, NOBODY = Rule(), Rule(())


def may_see(rule: Rule, visitor: Visitor, now: datetime) -> bool:
    """Decide whether a visitor may see a dataset; the one place that does.

    A group never counts as a user, nor a user as a group, so that nobody gains by choosing a name.
    """
    if rule.is_public(now) or visitor.has_link:
        return True
    if not visitor.is_signed_in or rule.visible_to == (EVERYONE,):
        return False
    if rule.visible_to == (SIGNED_IN,):
        return True
    return any(_names(entry, visitor) for entry in rule.visible_to)


def _names(entry: str, visitor: Visitor) -> bool:
    if entry.startswith(USER_PREFIX):
        return entry.removeprefix(USER_PREFIX) == visitor.user
    if "@" in entry:
        return visitor.email is not None and entry.lower() == visitor.email.lower()
    return entry in visitor.groups


def rule_of(site: Rule, visible_to: tuple[str, ...] | None, public_from: datetime | None) -> Rule:
    """Put what a description says over the site's rule.

    A description that names its audience does not take the site's date, which would open it to everyone.
    """
    if visible_to is None and public_from is None:
        return site
    return Rule(site.visible_to if visible_to is None else visible_to, public_from)


def check_audience(text: str) -> str | None:
    """Check one entry of a list of groups and users; return what is wrong, or None."""
    if text in (EVERYONE, SIGNED_IN):
        return f"{text} stands alone, not in a list"
    if "," in text or not text.isprintable():
        return "give each group or user an entry of its own"
    return None


def parse_moment(text: str) -> datetime | None:
    """Read a date with its time zone, and a time of day or else midnight; None when it is not one."""
    found = _MOMENT.fullmatch(text.strip())
    if found is None:
        return None
    day, time, zone = found.groups()
    offset = "+00:00" if zone in ("Z", "UTC") else zone
    try:
        return datetime.fromisoformat(f"{day}T{time or '00:00'}{offset}").astimezone(UTC)
    except (ValueError, OverflowError):
        return None
