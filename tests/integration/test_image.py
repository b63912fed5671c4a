"""The image as it runs: its user, its file system, its health, its end."""

from __future__ import annotations

import re
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from assembly.image import run_in_image
from cxg import __version__
from tests.integration.containers import CANARY, PLUGINS, wait_until

pytestmark = pytest.mark.integration

SIZE_LIMIT = 450e6
SLOW = {"volumes": {str(PLUGINS): {"bind": "/app/customize/plugins", "mode": "ro"}}}


def test_size_and_layers(image):
    print(*image.lines(), sep="\n")
    assert image.size_bytes < SIZE_LIMIT
    made_by = [text for _, text in image.layers]
    copied = [text.rsplit(" in ")[1].strip() for text in made_by if text.startswith("COPY")]
    assert copied == ["/opt/venv", "/app/client", "/app", "/app/packages", "/app/customize"]
    assert made_by[-1].startswith("LABEL")


def test_history_and_settings_hold_no_secret(engine, image):
    everything = str(engine.api.history(image.tag)) + str(engine.api.inspect_image(image.tag))
    assert CANARY not in everything
    assert not re.search(r"AWS_|SECRET|PASSWORD|TOKEN", everything)


def test_labels_tell_version_and_commit(engine, image):
    labels = engine.images.get(image.tag).labels
    assert labels["org.opencontainers.image.version"] == __version__
    assert re.fullmatch(r"unknown|[0-9a-f]{12}(-dirty)?", labels["org.opencontainers.image.revision"])


@pytest.mark.parametrize("program", ["gcc", "cc", "g++", "ld", "make", "curl", "git"])
def test_holds_no_build_tools(engine, image, program):
    found = run_in_image(engine, image.tag, ["sh", "-c", f"command -v {program} || echo none"])
    assert found.strip() == "none"


def test_holds_certificates_but_neither_tests_nor_sources_of_the_build(engine, image):
    run_in_image(engine, image.tag, ["test", "-s", "/etc/ssl/certs/ca-certificates.crt"])
    found = run_in_image(engine, image.tag, ["sh", "-c", "ls /app; find /opt/venv -path '*/scipy/*' -name tests"])
    assert sorted(found.split()) == [
        "LICENSE",
        "__pycache__",
        "client",
        "customize",
        "cxg",
        "entrypoint.py",
        "packages",
    ]


def test_every_module_loads_without_compiling(engine, image):
    # What the Dockerfile cuts out of packages is missed by none of these.
    script = (
        "import io, sys, boto3, h5py, PIL.Image, PIL.PngImagePlugin, scipy.special, yaml, zstandard, rich.progress; "
        "import cxg.web.wsgi, cxg.convert.write.writer, cxg.cli.share, cxg.web.access.load_balancer; "
        "PIL.Image.new('RGB', (9, 9)).save(io.BytesIO(), 'PNG'); "
        "assert zstandard.ZstdDecompressor().decompress(zstandard.compress(b'x' * 999)) == b'x' * 999; "
        "assert yaml.load('[1]', yaml.CSafeLoader) == [1]; "
        "print(sys.dont_write_bytecode)"
    )
    environment = {"CXG_DATAROOT": "/tmp"}
    assert run_in_image(engine, image.tag, ["python", "-c", script], environment=environment).strip() == "True"


def test_runs_as_ordinary_user_with_read_only_root_and_no_home(serve):
    server = serve(security_opt=["no-new-privileges:true"], pids_limit=200, mem_limit="1g")
    assert server.container.exec_run("id -u").output.strip() == b"10001"
    for name in ("Xr-Xc", "counts", "nan-sparse"):
        answer = requests.get(f"{server.url}/d/{name}.cxg/api/v0.2/schema", timeout=30)
        assert answer.status_code == 200, name
    assert requests.get(f"{server.url}/", timeout=30).status_code == 200
    assert [change["Path"] for change in server.container.diff()] == ["/data"]  # made by Docker, to mount upon


def test_health_check_turns_healthy(serve):
    server = serve()
    began = time.monotonic()

    def is_healthy() -> bool:
        server.container.reload()
        return server.container.attrs["State"]["Health"]["Status"] == "healthy"

    wait_until(is_healthy, 60, server.container)
    print(
        f"first answer after {server.started_s:.1f} s, healthy after {server.started_s + time.monotonic() - began:.1f} s"
    )


def test_health_check_notices_a_server_that_does_not_answer(serve):
    server = serve()
    check = server.container.attrs["Config"]["Healthcheck"]["Test"][1:]
    assert server.container.exec_run(check).exit_code == 0
    assert server.container.exec_run(check, environment={"CXG_PORT": "8001"}).exit_code != 0


def ask_slowly(url: str, count: int, seconds: float, pool: ThreadPoolExecutor):
    def ask(number: int) -> requests.Response | None:
        try:
            return requests.get(f"{url}/slow", params={"n": number, "seconds": seconds}, timeout=60)
        except requests.ConnectionError:
            return None

    return [pool.submit(ask, number) for number in range(count)]


def test_sigterm_answers_twenty_running_requests_and_exits_with_0(serve):
    server = serve({"CXG_WORKERS": "2", "CXG_THREADS": "8"}, **SLOW)
    with ThreadPoolExecutor(20) as pool:
        asked = ask_slowly(server.url, 20, 2, pool)
        wait_until(lambda: server.log().count("slow ") >= 8, 10, server.container)
        began = time.monotonic()
        server.container.kill(signal.SIGTERM)
        answers = [future.result() for future in asked]
    assert [answer.status_code for answer in answers if answer is not None] == [200] * 20
    assert server.container.wait(timeout=30)["StatusCode"] == 0
    print(f"20 answers and the end {time.monotonic() - began:.1f} s after SIGTERM")


def test_sigkill_of_a_worker_fails_its_own_requests_alone(serve):
    server = serve({"CXG_WORKERS": "2", "CXG_THREADS": "12"}, **SLOW)
    with ThreadPoolExecutor(12) as pool:
        asked = ask_slowly(server.url, 12, 3, pool)
        wait_until(lambda: server.log().count("slow ") == 12, 10, server.container)
        worker_of = {int(n): pid for n, pid in re.findall(r"slow (\d+) in (\d+)", server.log())}
        victim = worker_of[0]
        server.container.exec_run(["python", "-I", "-S", "-c", f"import os; os.kill({victim}, 9)"])
        answers = [future.result() for future in asked]
    failed = {number for number, answer in enumerate(answers) if answer is None}
    print(f"{len(failed)} of 12 requests were the killed worker's")
    assert failed == {number for number, pid in worker_of.items() if pid == victim}
    assert [answer.status_code for answer in answers if answer is not None] == [200] * (12 - len(failed))
    wait_until(lambda: len(server.container.top()["Processes"]) == 3, 20, server.container)
    for _ in range(20):
        assert requests.get(f"{server.url}/health", timeout=10).status_code == 200
