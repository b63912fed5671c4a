"""Firefox on a screen in memory (Xvfb), without a driver program: by its own protocol for tests, Marionette.

Without a screen Firefox has no WebGL where there is no graphics card.

Each message is its length in decimal digits, a colon, and a JSON list: [0, number, command, parameters] to the
browser, [1, number, error, result] from it. The commands are those of W3C WebDriver.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.browser.serving import unavailable

_START_S, _ANSWER_S, _WAIT_S = 60.0, 60.0, 30.0
_ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_PREFERENCES = {
    "marionette.port": 0,
    "webgl.force-enabled": True,
    "devtools.console.stdout.content": True,
    "browser.shell.checkDefaultBrowser": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "datareporting.policy.dataSubmissionEnabled": False,
    "toolkit.telemetry.enabled": False,
    "app.update.enabled": False,
    "network.captive-portal-service.enabled": False,
    "network.connectivity-service.enabled": False,
    "extensions.update.enabled": False,
    "browser.safebrowsing.malware.enabled": False,
    "browser.safebrowsing.phishing.enabled": False,
}


class Firefox:
    """One window of a Firefox.

    Parameters
    ----------
    downloads : Path
        Folder for files that a page saves.
    """

    def __init__(self, port: int, log: Path, downloads: Path) -> None:
        self.downloads, self._log, self._number = downloads, log, 0
        self._socket = socket.create_connection(("127.0.0.1", port), _ANSWER_S)
        self._file = self._socket.makefile("rb")
        self._receive()  # the browser introduces itself
        self._ask("WebDriver:NewSession", {"capabilities": {"alwaysMatch": {"acceptInsecureCerts": False}}})
        self._ask("WebDriver:SetWindowRect", {"width": 1280, "height": 900})

    def open(self, url: str) -> None:
        """Go to an address and wait until its page is loaded."""
        self._ask("WebDriver:Navigate", {"url": url})

    def back(self) -> None:
        """Go back one step."""
        self._ask("WebDriver:Back", {})

    def run(self, script: str, *arguments: Any) -> Any:
        """Return what a function body returns in the page; a promise is awaited."""
        body = f"const done = arguments[arguments.length - 1]; (async () => {{ {script} }})().then(done, (e) => done({{failed: String(e)}}));"
        found = self._ask("WebDriver:ExecuteAsyncScript", {"script": body, "args": list(arguments)})["value"]
        if isinstance(found, dict) and "failed" in found:
            raise AssertionError(found["failed"])
        return found

    def wait_for(self, script: str, met: Callable[[Any], bool] = bool) -> Any:
        """Run a function body again and again until what it returns is as it should be."""
        deadline = time.monotonic() + _WAIT_S
        while True:
            found = self.run(script)
            if met(found):
                return found
            assert time.monotonic() < deadline, f"{script} stayed {found!r}"
            time.sleep(0.1)

    def click(self, selector: str) -> None:
        """Click on the first element that a CSS selector finds, once it is there."""
        self.wait_for(f"return !!document.querySelector({json.dumps(selector)})")
        found = self._ask("WebDriver:FindElement", {"using": "css selector", "value": selector})["value"]
        self._ask("WebDriver:ElementClick", {"id": found[_ELEMENT]})

    def screenshot(self, path: Path) -> None:
        """Save a picture of the window."""
        found = self._ask("WebDriver:TakeScreenshot", {"full": False})["value"]
        path.write_bytes(base64.b64decode(found))

    def complaints(self) -> list[str]:
        """Return the lines of the console that say that something went wrong in a page."""
        lines = self._log.read_text(errors="replace").splitlines()
        marks = ("console.error", "JavaScript error", "Content-Security-Policy")
        own = ("resource://", "chrome://", "RSLoader", "BackupService")  # what the browser says of itself
        return [line for line in lines if line.startswith(marks) and not any(mark in line for mark in own)]

    def close(self) -> None:
        """Have the browser end."""
        with contextlib.suppress(OSError, AssertionError):
            self._ask("Marionette:Quit", {"flags": ["eForceQuit"]})
        self._file.close()
        self._socket.close()

    def _ask(self, command: str, parameters: dict[str, Any]) -> Any:
        self._number += 1
        message = json.dumps([0, self._number, command, parameters])
        self._socket.sendall(f"{len(message.encode())}:{message}".encode())
        kind, number, error, result = self._receive()
        assert (kind, number) == (1, self._number)
        assert error is None, f"{command}: {error}"
        return result

    def _receive(self) -> Any:
        digits = b""
        while (byte := self._file.read(1)) != b":":
            assert byte, "Firefox ended."
            digits += byte
        return json.loads(self._file.read(int(digits)))


def find_firefox() -> str:
    """Path of Firefox: `CXG_TEST_FIREFOX`, else as installed."""
    found = os.environ.get("CXG_TEST_FIREFOX") or shutil.which("firefox-esr") or shutil.which("firefox")
    if not found:
        unavailable("Firefox is not installed; name it in CXG_TEST_FIREFOX.")
    return str(found)


@contextlib.contextmanager
def launched_firefox(folder: Path) -> Iterator[Firefox]:
    """Start a Firefox with a new profile in a folder, and end it afterwards."""
    profile, downloads, log = folder / "profile", folder / "downloads", folder / "firefox.log"
    profile.mkdir(parents=True)
    downloads.mkdir()
    chosen = _PREFERENCES | {
        "browser.download.folderList": 2,
        "browser.download.dir": str(downloads),
        "browser.download.alwaysOpenPanel": False,
        "browser.helperApps.neverAsk.saveToDisk": "text/csv,image/png,image/svg+xml,application/octet-stream",
    }
    text = "".join(f"user_pref({json.dumps(name)}, {json.dumps(value)});\n" for name, value in chosen.items())
    (profile / "user.js").write_text(text)
    command = [find_firefox(), "--no-remote", "--marionette", "--profile", str(profile)]
    with _screen() as display, log.open("wb") as out:
        # Software WebGL: the machines that run this have no graphics card.
        env = os.environ | {"HOME": str(folder), "DISPLAY": display, "LIBGL_ALWAYS_SOFTWARE": "1"}
        process = subprocess.Popen(command, stdout=out, stderr=out, env=env)
        try:
            firefox = Firefox(_port(profile, process), log, downloads)
            with contextlib.closing(firefox):
                yield firefox
        finally:
            _end(process)


@contextlib.contextmanager
def _screen() -> Iterator[str]:
    """A screen in memory, as DISPLAY names it."""
    if not (program := shutil.which("Xvfb")):
        unavailable("Xvfb is not installed.")
    read, write = os.pipe()
    command = [str(program), "-displayfd", str(write), "-screen", "0", "1400x1000x24", "-nolisten", "tcp"]
    process = subprocess.Popen(command, pass_fds=(write,), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(write)
    try:
        with os.fdopen(read) as number:
            yield f":{number.readline().strip()}"
    finally:
        _end(process)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _port(profile: Path, process: subprocess.Popen[bytes]) -> int:
    """Port that Firefox chose, which it writes into a file."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Firefox ended with {process.returncode}"
        with contextlib.suppress(OSError, ValueError):
            return int((profile / "MarionetteActivePort").read_text())
        time.sleep(0.1)
    raise AssertionError("Firefox did not open its port for tests.")
