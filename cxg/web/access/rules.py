"""The rule of each dataset, from its description and the configuration; in doubt, nobody may see it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from cxg.access import NOBODY, PUBLIC, Rule, rule_of
from cxg.config import Access
from cxg.descriptions.store import Descriptions
from cxg.errors import StorageUnavailable

# A description may be away for a moment while it is replaced.
_AWAY_S = 30.0


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last rule that a description gave, and since when the description is gone."""

    rule: Rule
    gone_s: float | None = None


class Rules:
    """The rules of the datasets of one root; safe to share between threads.

    Parameters
    ----------
    access : Access
        The site's rule, and whether it is likely that some dataset is restricted.
    descriptions : Descriptions
    is_single : bool
        Whether there is one dataset, beside whose folder the server may not be allowed to look.
    clock : callable
        Seconds; replaced in tests.
    """

    def __init__(
        self,
        access: Access,
        descriptions: Descriptions,
        *,
        is_single: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.site = Rule(access.visible_to, access.public_from)
        self._in_doubt = NOBODY if access.is_used else self.site
        self._is_used, self._is_single = access.is_used, is_single
        self._descriptions, self._clock = descriptions, clock
        self._lock = threading.Lock()
        # Only datasets with a description that restricts them.
        self._seen: dict[str, _Seen] = {}

    def of(self, name: str) -> Rule:
        """Return the rule of a dataset; that of the site for a name that does not exist.

        Raises
        ------
        StorageUnavailable
            It is not known whether the dataset has a description.
        """
        described = self._descriptions.known(name)
        seen = self._seen.get(name)
        if described is None:
            if seen is None and not self._is_used and not self._is_single:
                raise StorageUnavailable("The storage did not answer while reading a description; try again soon.")
            return self._in_doubt if seen is None else seen.rule
        description = described.description
        if not described.is_whole and description.visible_to is None:
            return self._in_doubt if seen is None else seen.rule
        rule = rule_of(self.site, description.visible_to, description.public_from)
        has_file = self._descriptions.has_file(name)
        return self._note(name, rule) if has_file else self._without_file(name, rule)

    def _note(self, name: str, rule: Rule) -> Rule:
        with self._lock:
            if rule == PUBLIC:
                self._seen.pop(name, None)
            else:
                self._seen[name] = _Seen(rule)
        return rule

    def _without_file(self, name: str, rule: Rule) -> Rule:
        seen = self._seen.get(name)
        if seen is None:
            return rule
        with self._lock:
            if seen.gone_s is None:
                self._seen[name] = _Seen(seen.rule, self._clock())
            elif self._clock() - seen.gone_s > _AWAY_S:
                self._seen.pop(name, None)
                return rule
        return seen.rule
