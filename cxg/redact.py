"""Removes credentials from messages, in one function.

`CxgError` applies it to its own text, so no error raised on purpose shows a credential. Code that prints or logs other
texts, such as another library's errors, applies it there.
"""

from __future__ import annotations

import re
import traceback

HIDDEN = "***"
# User and password before a host. A password may contain slashes, colons and @, so for http the last @ in the word
# counts; `Path` turns two slashes into one. An s3:// address may have an @ in a name, but no colon.
_USER = re.compile(r"""\b(https?:/{1,2}|[a-z][a-z0-9+.-]*://(?=[^\s/:'"]*:)(?!\S*@(?:tcp|o2ib)))\S*@""", re.IGNORECASE)
_QUERY = re.compile(
    r"""(\b(?:X-Amz-(?:Signature|Credential|Security-Token)|Signature|AWSAccessKeyId|sig|"""
    r"""(?:access_|auth_|session_)?token|api_?key|password|passwd|secret)=)[^\s&#'",;]+""",
    re.IGNORECASE,
)
_SETTING = re.compile(
    r"""((?:aws_)?(?:secret_access_key|session_token)|proxy_password|flask_secret_key|cxg_secret_key)"""
    r"""(['"]?\s?(?:[=:]|with value|to)\s?['"]?)[^\s'",;}]+""",
    re.IGNORECASE,
)


def redacted(text: str) -> str:
    """Replace possible credentials by three stars: in addresses, in their queries, in settings.

    Parameters
    ----------
    text : str
        Any text for a person: a sentence, a log line, a traceback.
    """
    if "@" in text:
        text = _USER.sub(rf"\g<1>{HIDDEN}@", text)
    if "=" in text or ":" in text or "value" in text:
        text = _QUERY.sub(rf"\g<1>{HIDDEN}", text)
        text = _SETTING.sub(rf"\g<1>\g<2>{HIDDEN}", text)
    return text


def traceback_text(error: BaseException) -> str:
    """Format the traceback of an error, with its causes, as a log shows it but without credentials."""
    return redacted("".join(traceback.format_exception(error)).rstrip())
