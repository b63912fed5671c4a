"""A browser page that remembers everything that went wrong on it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import urlsplit

from playwright.sync_api import ConsoleMessage, Page, Request, Response

# The policy's own complaint also reaches the console, but not for every kind of violation.
_TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`))"""


@dataclass
class Faults:
    """What went wrong, a line each, and the hosts that were asked for anything."""

    lines: list[str] = field(default_factory=list)
    hosts: set[str] = field(default_factory=set)


def watch(page: Page) -> Faults:
    """Note console errors and warnings, exceptions, failed requests, error answers and policy violations of a page."""
    faults = Faults()
    page.add_init_script(_TELL_VIOLATIONS)

    def on_console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            faults.lines.append(f"console {message.type}: {message.text} ({message.location.get('url')})")

    def on_response(response: Response) -> None:
        if response.status >= 400:
            faults.lines.append(f"answer {response.status}: {response.request.method} {response.url}")

    def on_failure(request: Request) -> None:
        # Going to another page ends what the last one was still fetching.
        if request.failure != "net::ERR_ABORTED":
            faults.lines.append(f"request failed: {request.method} {request.url}: {request.failure}")

    def on_request(request: Request) -> None:
        if urlsplit(request.url).scheme in ("http", "https", "ws", "wss"):
            faults.hosts.add(urlsplit(request.url).hostname or "")

    page.on("console", on_console)
    page.on("pageerror", lambda error: faults.lines.append(f"exception: {error}"))
    page.on("response", on_response)
    page.on("requestfailed", on_failure)
    page.on("request", on_request)
    return faults
