"""Closes every route to datasets that a visitor may not see.

A request for such a dataset gets another name in its place, that of no dataset, before any route handles it. So every
route answers as it does for a name that does not exist, and looks for it in the same way: status, headers, body and
work are the same. The middleware before Flask answers only for datasets that everyone may see.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import blake2b
from typing import Any, cast
from urllib.parse import quote

from cachetools import LRUCache
from flask import Flask, Response, g, redirect, request
from werkzeug.wrappers import Response as BaseResponse

from cxg.access import Rule, Visitor, may_see
from cxg.config import Access
from cxg.errors import StorageUnavailable
from cxg.sharing.token import PARAMETER
from cxg.web.access.rules import Rules
from cxg.web.access.share_links import ShareLinks
from cxg.web.access.visitors import Identify
from cxg.web.start_page.listed import Listed

OPEN_ENDPOINTS = frozenset({"site.add_slash", "client.static_file", "client.obsolete"})
"""Routes below a dataset's name that answer the same whether or not there is such a dataset."""

LISTS = frozenset({"gallery.start_page", "gallery.one_collection", "gallery.catalog_json", "gallery.sitemap_xml"})
"""Routes that name datasets."""

_PAGES = frozenset({"client.page", "gallery.about_page", "expression.page"})
_PRIVATE = "private, no-cache"
# For so long the middleware need not ask again, and a list of restricted datasets holds.
_HOLDS_S = 1.0
_MOST_SETS = 16


class Gate:
    """Decides about requests of one application.

    Parameters
    ----------
    access : Access
    rules : Rules
    identify : callable
        Says who sends a request.
    links : ShareLinks, optional
        By default no link opens a dataset.
    now : callable
        The time; replaced in tests.
    """

    def __init__(
        self,
        access: Access,
        rules: Rules,
        identify: Identify,
        links: ShareLinks | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._access, self._rules, self._identify, self._links, self._now = access, rules, identify, links, now
        self._secret = secrets.token_bytes(32)
        self._open_until_s: dict[str, float] = {}
        self._lock = threading.Lock()
        self._restricted: tuple[Listed, float, dict[str, Rule]] | None = None
        self._narrowed: LRUCache[frozenset[str], Listed] = LRUCache(_MOST_SETS)

    def attach(self, app: Flask) -> None:
        """Put the gate before every route of an application."""
        app.url_value_preprocessor(self._enter)
        app.before_request(self._hand_over)
        app.after_request(self._leave)

    def is_open(self, name: str) -> bool:
        """Tell whether everyone may see a dataset that is open, as was found a moment ago."""
        now_s = time.monotonic()
        if now_s < self._open_until_s.get(name, 0.0):
            return True
        rule = self._rule(name)
        is_open = rule is not None and rule.is_public(self._now())
        self._open_until_s[name] = now_s + _HOLDS_S if is_open else 0.0
        return is_open

    def narrow(self, listed: Listed) -> Listed:
        """Leave out of the list what the sender of the current request may not see.

        The result is the same object for the same list and the same datasets.
        """
        now, visitor, restricted = self._now(), self._visitor(), self._restricted_of(listed)
        hidden = frozenset(name for name, rule in restricted.items() if not may_see(rule, visitor, now))
        if not hidden and not self._access.is_used:
            return listed
        with self._lock:
            narrowed = self._narrowed.get(hidden)
            if narrowed is None or self._restricted is None or self._restricted[0] is not listed:
                narrowed = _without(listed, hidden)
                if self._restricted is not None and self._restricted[0] is listed:
                    self._narrowed[hidden] = narrowed
            return narrowed

    def _restricted_of(self, listed: Listed) -> dict[str, Rule]:
        """Return the rules of the datasets of a list that not everyone may see now or later."""
        held = self._restricted
        if held is not None and held[0] is listed and time.monotonic() < held[1]:
            return held[2]
        now, found = self._now(), {}
        for name in (*(one.name for one in listed.known), *listed.pending, *listed.described):
            rule = self._rule(name)
            if rule is None or not rule.is_public(now):
                found[name] = rule or Rule(())
        with self._lock:
            if self._restricted is None or self._restricted[0] is not listed:
                self._narrowed.clear()
            self._restricted = listed, time.monotonic() + _HOLDS_S, found
        return found

    def _rule(self, name: str) -> Rule | None:
        try:
            return self._rules.of(name)
        except StorageUnavailable:
            return None

    def _visitor(self) -> Visitor:
        """Say who sends the current request, once for each request."""
        if "visitor" not in g:
            g.visitor = self._identify(request)
        return cast("Visitor", g.visitor)

    def _enter(self, endpoint: str | None, values: dict[str, Any] | None) -> None:
        """Give a request another name in place of that of a dataset that its sender may not see.

        Raises
        ------
        StorageUnavailable
            It is not known whether the sender may see it.
        """
        if values is None or "dataset" not in values or endpoint in OPEN_ENDPOINTS:
            return
        # Known before the dataset is, so that it takes the same time for every name.
        visitor, name, now = self._visitor(), str(values["dataset"]), self._now()
        g.page_of_dataset = endpoint in _PAGES
        shared = None if self._links is None else self._links.opens(request, name, now)
        rule = self._rules.of(name)
        if shared is not None:
            visitor = replace(visitor, has_link=True)
            if PARAMETER in request.args and endpoint in _PAGES:
                g.shared = shared
        if not may_see(rule, visitor, now):
            values["dataset"] = self._no_name(name)
        elif not rule.is_public(now):
            g.is_private = True

    def _hand_over(self) -> BaseResponse | None:
        """Take the token of a link out of the address bar."""
        if self._links is None or "shared" not in g:
            return None
        return self._links.hand_over(request, *g.shared)

    def _no_name(self, name: str) -> str:
        """Make a name of no dataset, always the same for the same name."""
        return blake2b(name.encode("utf-8", "surrogatepass"), key=self._secret, digest_size=16).hexdigest() + ".cxg"

    def _leave(self, response: Response) -> Response | BaseResponse:
        is_missing_page = g.get("page_of_dataset") and g.get("dataset_not_found")
        if is_missing_page and self._access.sign_in is not None and not self._visitor().is_signed_in:
            back = quote(request.script_root + request.path, safe="/")
            joint = "&" if "?" in self._access.sign_in else "?"
            answer = redirect(f"{self._access.sign_in}{joint}rd={back}", 302)
            answer.headers["Cache-Control"] = "no-store"
            return answer
        is_list = request.endpoint in LISTS and self._access.source != "none"
        if (is_list or g.get("is_private")) and "no-store" not in response.headers.get("Cache-Control", ""):
            response.headers["Cache-Control"] = _PRIVATE
            response.vary.add("Cookie")
        return response


def _without(listed: Listed, hidden: frozenset[str]) -> Listed:
    # Those beyond the most that are listed are not counted: that would need the rule of each.
    return Listed(
        tuple(one for one in listed.known if one.name not in hidden),
        tuple(name for name in listed.pending if name not in hidden),
        0,
        tuple(name for name in listed.described if name not in hidden),
    )
