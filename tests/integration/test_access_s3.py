"""Hidden datasets and links for reviewers, with the dataroot on a real S3-compatible server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from cxg.cli.main import main
from cxg.datasets.opening import USUAL_TIMES
from tests import cxgs
from tests.integration import minio
from tests.served import serve

pytestmark = pytest.mark.integration
BUCKET, PREFIX = "access", "some/prefix"
KEY = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[minio.Store]:
    with minio.running() as running:
        running.client().create_bucket(Bucket=BUCKET)
        for name in ("hidden", "public"):
            root = cxgs.build(tmp_path_factory.mktemp("data") / f"{name}.cxg").path
            running.upload(root, BUCKET, f"{PREFIX}/{name}.cxg")
        running.client().put_object(Bucket=BUCKET, Key=f"{PREFIX}/hidden.yaml", Body=b"visible_to: []\n")
        yield running


def test_a_link_opens_a_hidden_dataset_until_it_is_revoked(
    store: minio.Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    dataroot, now_s = f"s3://{BUCKET}/{PREFIX}", [1000.0]
    for name, value in {
        **store.environment(),
        "CXG_CONFIG_FILE": str(tmp_path / "config.yaml"),
        "CXG_DATAROOT": dataroot,
        "CXG_SECRET_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, value)
    times = replace(USUAL_TIMES, clock=lambda: now_s[0])
    locator = {"s3": {"region_name": "us-east-1", "endpoint_url": store.url}}
    (tmp_path / "config.yaml").write_text(json.dumps({"data_locator": locator}))
    environment = {**store.environment(), "CXG_SECRET_KEY": KEY}
    client = serve(dataroot, tmp_path / "client", environment, times, data_locator=locator)

    def statuses() -> list[int]:
        return [client.get(f"/d/{name}.cxg/api/v0.2/schema").status_code for name in ("hidden", "public", "absent")]

    assert statuses() == [404, 200, 404]
    assert main(["share", "hidden", "--until", "2099-01-31", "--note", "Möhre"]) == 0
    link = capsys.readouterr().out.strip()
    assert link.startswith("/d/hidden.cxg/?share=")
    answer = client.get(link)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/d/hidden.cxg/")
    assert statuses() == [200, 200, 404]
    assert main(["share", "--list"]) == 0
    assert capsys.readouterr().out.startswith("hidden.cxg  until 2099-02-01 00:00 UTC")
    assert main(["share", "hidden", "--revoke"]) == 0
    assert capsys.readouterr().out == "Revoked 1 link to hidden.cxg.\n"
    now_s[0] += 11
    assert statuses() == [404, 200, 404]
    assert main(["share", "--list"]) == 0
    assert capsys.readouterr().out == ""
    assert main(["share", "nope", "--until", "2099-01-31"]) == 2
    assert "There is no dataset nope.cxg" in capsys.readouterr().err


def test_rights_that_are_missing_are_told_in_one_sentence(
    store: minio.Store, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        **store.environment(),
        "AWS_SECRET_ACCESS_KEY": "wrong",
        "AWS_ENDPOINT_URL": store.url,
        "AWS_REGION": "us-east-1",
        "CXG_DATAROOT": f"s3://{BUCKET}/{PREFIX}",
        "CXG_SECRET_KEY": KEY,
    }.items():
        monkeypatch.setenv(name, value)
    assert main(["share", "--list"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"cxg: s3://{BUCKET}/{PREFIX}/.cxg-shares: S3 answered SignatureDoesNotMatch")
    assert err.count("\n") == 1
