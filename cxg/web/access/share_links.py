"""Links that open one hidden dataset: the token in the address becomes a cookie, which holds until the link's date."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime
from urllib.parse import quote

from cachetools import TTLCache
from flask import Request, Response, redirect
from werkzeug.wrappers import Response as BaseResponse

from cxg.sharing.records import MOST_BYTES, file_of, parse_record
from cxg.sharing.token import PARAMETER, Share, read_token
from cxg.storage.beside import Folder

COOKIE = "cxg-share"
# A link that was revoked opens nothing after so many seconds.
_HOLDS_S, _MOST_KNOWN = 10.0, 1000
# What browsers leave as it is in a path.
_SAFE = "!$&'()*+,;=:@-._~"


class ShareLinks:
    """Decides what the token of a request opens.

    Parameters
    ----------
    key : str
        Secret key of the site; strong enough, see `cxg.sharing.token.key_problem`.
    folder : Folder
        The dataroot, with the records of links.
    base_url : str
        Path before the name of a dataset.
    timer : callable
        Seconds; replaced in tests.
    """

    def __init__(self, key: str, folder: Folder, base_url: str, timer: Callable[[], float]) -> None:
        self._key, self._folder, self._base_url = key, folder, base_url
        self._lock = threading.Lock()
        self._known: TTLCache[str, bool] = TTLCache(_MOST_KNOWN, _HOLDS_S, timer)

    def opens(self, request: Request, dataset: str, now: datetime) -> tuple[Share, str] | None:
        """Return the share, and its token, by which a request may see a dataset; None when there is none.

        A token is that of the address or of the cookie. It must be signed, name the dataset, not have ended, and have
        a record, which is removed to revoke it.

        Raises
        ------
        StorageUnavailable
            It is not known whether it was revoked.
        """
        for token in (request.args.get(PARAMETER), request.cookies.get(COOKIE)):
            share = read_token(token, self._key) if token else None
            if share is not None and share.dataset == dataset and now < share.until and self._has_record(share):
                return share, str(token)
        return None

    def _has_record(self, share: Share) -> bool:
        with self._lock:
            known = self._known.get(share.id)
        if known is None:
            file = file_of(share.id)
            content = None if file is None else self._folder.read(file, MOST_BYTES)
            record = None if content is None else parse_record(share.id, content)
            known = record is not None and record.share == share
            with self._lock:
                self._known[share.id] = known
        return known

    def hand_over(self, request: Request, share: Share, token: str) -> BaseResponse:
        """Send the browser to the same page without the token, which it keeps as a cookie for this dataset alone."""
        rest = [(name, value) for name, value in request.args.items(multi=True) if name != PARAMETER]
        query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in rest)
        path = f"{request.script_root}/{quote(self._base_url)}/{quote(share.dataset, safe=_SAFE)}"
        target = quote(request.script_root + request.path, safe=f"/{_SAFE}")
        answer: BaseResponse = redirect(f"{target}?{query}" if query else target, 303, Response)
        answer.set_cookie(
            COOKIE,
            token,
            expires=share.until.astimezone(UTC),
            path=path,
            secure=request.is_secure,
            httponly=True,
            samesite="Lax",
        )
        answer.headers["Cache-Control"] = "no-store"
        answer.headers["Referrer-Policy"] = "no-referrer"
        return answer
