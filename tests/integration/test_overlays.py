"""Every kind of file in `customize/`, from the example, seen in a running container and in a real browser."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from playwright.sync_api import expect

from assembly.errors import AssemblyError
from assembly.image import build_image, plan_image, run_in_image
from tests.browser.explorer import Explorer
from tests.browser.watched import watch
from tests.integration.browsing import opened_page
from tests.integration.containers import Server, image_options

pytestmark = pytest.mark.integration

TAG = "cellxgene-eb:test-example"


@pytest.fixture(scope="module")
def example(engine, image, project: Path):
    """Image with customize.example/ in it."""
    return build_image(plan_image(image_options("--customize", str(project / "customize.example"), tag=TAG)), print)


@pytest.fixture
def server(serve: Callable[..., Server], example) -> Server:
    return serve(image=TAG)


def test_configuration_is_checked_in_the_image_and_wins(engine, example, serve):
    assert "valid" in run_in_image(engine, TAG, ["cxg", "config", "check", "/app/customize/config.yaml"])
    server = serve({"CXG_CONFIG_FILE": "/elsewhere.yaml"}, image=TAG)
    assert "CXG_CONFIG_FILE /elsewhere.yaml is not used" in server.log()
    parameters = requests.get(f"{server.url}/d/counts.cxg/api/v0.2/config", timeout=30).json()["config"]["parameters"]
    assert parameters["max-category-items"] == 500


def test_a_faulty_configuration_fails_the_build(engine, image, project, tmp_path):
    shutil.copytree(project / "customize.example", tmp_path / "customize")
    (tmp_path / "customize" / "config.yaml").write_text("server:\n  prot: 80\n")
    with pytest.raises(AssemblyError, match=r"server\.prot"):
        build_image(plan_image(image_options("--customize", str(tmp_path / "customize"), tag=f"{TAG}-faulty")), print)


def test_requirements_against_ours_fail_the_plan_with_every_violation(project, tmp_path):
    (tmp_path / "requirements.txt").write_text("flask==2.0.0\nhumanize>=4\n")
    with pytest.raises(AssemblyError) as caught:
        plan_image(image_options("--customize", str(tmp_path)))
    assert "flask" in str(caught.value)
    assert "humanize" in str(caught.value)


def test_a_package_that_lacks_another_fails_the_build(engine, image, tmp_path):
    """Only what is written down is installed; here `beautifulsoup4` needs `soupsieve`."""
    (tmp_path / "requirements.txt").write_text("beautifulsoup4==4.13.4\n")
    with pytest.raises(AssemblyError, match="soupsieve"):
        build_image(plan_image(image_options("--customize", str(tmp_path), tag=f"{TAG}-lacking")), print)


def test_plugins_their_packages_and_the_commit(server, example):
    answer = requests.get(f"{server.url}/site/uptime", timeout=30)
    assert (answer.status_code, answer.text[:6]) == (200, "up for")
    build = answer.headers["X-Site-Build"]
    assert build
    assert "__" not in build
    assert requests.get(f"{server.url}/", timeout=30).headers["X-Site-Build"] == build


def test_identity_check_guards_everything_but_health(serve, example):
    server = serve({"SITE_REQUIRE_USER": "1"}, image=TAG)
    for path in ("/", "/d/counts.cxg/", "/d/counts.cxg/api/v0.2/schema", "/static/cellxgene/deploy/tos.html"):
        assert requests.get(server.url + path, timeout=30).status_code == 401, path
        assert requests.get(server.url + path, headers={"X-Forwarded-User": "a"}, timeout=30).status_code == 200, path
    assert requests.get(f"{server.url}/health", timeout=30).status_code == 200


def test_deployed_pages_are_served(server):
    page = requests.get(f"{server.url}/static/cellxgene/deploy/tos.html", timeout=30)
    assert (page.status_code, "Terms of service" in page.text) == (200, True)
    assert requests.get(f"{server.url}/static/cellxgene/deploy/../config.yaml", timeout=30).status_code == 404


def test_a_failing_plugin_stops_the_start_with_its_name(engine, image, project, tmp_path):
    (tmp_path / "broken.py").write_text("def extra_headers():\n    raise RuntimeError('no such service')\n")
    tmp_path.chmod(0o755)
    with pytest.raises(AssemblyError, match=r"ended with 2:[\s\S]*error: Plugin .*broken\.py: .*no such service"):
        run_in_image(
            engine,
            image.tag,
            ["python", "/app/entrypoint.py"],
            environment={"CXG_DATAROOT": "/data"},
            volumes={
                str(tmp_path): {"bind": "/app/customize/plugins", "mode": "ro"},
                str(project / "customize.example"): {"bind": "/data", "mode": "ro"},
            },
        )


def test_legal_links_and_inline_script_in_a_browser_with_a_clean_console(server):
    with opened_page() as page:
        faults, said = watch(page), []
        page.on("console", lambda message: said.append(message.text))
        explorer = Explorer(page)
        page.goto(f"{server.url}/d/counts.cxg/")
        explorer.at("layout-graph").wait_for()
        assert any(line.startswith("site build ") and "__" not in line for line in said)
        explorer.at("menu").click()
        for text, file in (("Terms of Service", "tos.html"), ("Privacy Policy", "privacy.html")):
            link = page.get_by_role("menuitem", name=text).or_(page.get_by_role("link", name=text)).first
            expect(link).to_be_visible()
            href = link.evaluate("element => element.href")
            assert href == f"{server.url}/static/cellxgene/deploy/{file}"
    assert faults.lines == []
    assert faults.hosts == {"127.0.0.1"}
