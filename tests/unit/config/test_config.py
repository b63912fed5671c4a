"""Reading a configuration: values, defaults, the environment, old files, and the docs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import tiledb
import yaml

from cxg.config import ENVIRONMENT, Config, Script, default, default_yaml, load
from cxg.config.old_keys import RETIRED, RETIRED_TILEDB
from cxg.config.reader import iterate_keys
from cxg.config.render import docs_markdown

PROJECT = Path(__file__).parents[3]

# The keys and values of the file that `--dump-default-config` wrote in June 2020.
FILE_OF_2020 = """
server:
  verbose: false
  debug: false
  host: "127.0.0.1"
  port : null
  scripts : []
  inline_scripts: []
  open_browser: false
  about_legal_tos: null
  about_legal_privacy: null
  force_https: false
  flask_secret_key: null
  generate_cache_control_headers: false
  server_timing_headers: false
  csp_directives: null
presentation:
  max_categories: 1000
  custom_colors: true
multi_dataset:
  dataroot: null
  index: false
  allowed_matrix_types: []
  matrix_cache:
    max_datasets: 5
    timelimit_s: 30
single_dataset:
  datapath: null
  obs_names: null
  var_names: null
  about: null
  title: null
user_annotations:
  enable: true
  type: local_file_csv
  local_file_csv:
    directory: null
    file: null
  ontology:
    enable: false
    obo_location: null
embeddings:
  names : []
  enable_reembedding: false
diffexp:
  enable: true
  lfc_cutoff: 0.01
  top_n: 10
  alg_cxg:
    max_workers: 64
    cpu_multiplier: 4
    target_workunit: 16_000_000
data_locator:
  s3:
    region_name: true
adaptor:
  cxg_adaptor:
    tiledb_ctx:
      sm.tile_cache_size:  8589934592
      sm.num_reader_threads:  32
  anndata_adaptor:
      backed: false
limits:
  column_request_max: 32
  diffexp_cellcount_max: null
"""


@pytest.mark.parametrize("text", ["", "\n# only a note\n", "---\n", "server:\nlimits: {}\n", "\ufeffserver:\n"])
def test_an_empty_file_gives_the_defaults(text: str) -> None:
    loaded = load(text, {})
    assert loaded.config == default() == Config()
    assert loaded.warnings == ()


def test_defaults_that_others_rely_on() -> None:
    config = default()
    assert (config.server.host, config.server.port) == ("127.0.0.1", 5005)
    assert (config.multi_dataset.base_url, config.multi_dataset.index) == ("d", True)
    assert config.server.generate_cache_control_headers
    assert config.presentation.max_categories == 1000
    assert (config.diffexp.lfc_cutoff, config.diffexp.top_n) == (0.01, 10)
    assert (config.limits.column_request_max, config.limits.diffexp_cellcount_max) == (32, None)


def test_every_key_is_read_into_its_own_place() -> None:
    text = """
server:
  verbose: on
  debug: true
  host: "::1"
  port: 8_080
  scripts:
    - https://a.org/x.js
    - {src: /static/y.js, integrity: sha384-abcd, crossorigin: anonymous}
  inline_scripts: [a.js, b.js]
  open_browser: true
  about_legal_tos: https://a.org/tos
  about_legal_privacy: /static/cellxgene/deploy/privacy.html
  force_https: true
  flask_secret_key: hush
  generate_cache_control_headers: false
  server_timing_headers: true
  csp_directives:
    connect-src: https://a.org wss://b.org
    script-src: ["'unsafe-inline'", "*.c.org"]
    upgrade-insecure-requests: []
presentation: {max_categories: 7, custom_colors: false}
multi_dataset:
  dataroot: lustre://fs-1.fsx.eu-west-1.amazonaws.com@tcp:/abcdefgh/sub
  base_url: /site/data/
  index: https://a.org/
  matrix_cache: {max_datasets: 3, timelimit_s: null}
embeddings: {names: [umap, "1"]}
diffexp: {enable: false, lfc_cutoff: 1e-2, top_n: 25}
data_locator: {s3: {region_name: eu-west-1, no_sign_request: true, endpoint_url: "http://minio:9000"}}
adaptor: {cxg_adaptor: {tiledb_ctx: {vfs.s3.max_parallel_ops: 1_6, sm.x: true, sm.y: 0.5, sm.z: text}}}
limits: {column_request_max: null, diffexp_cellcount_max: 100000}
"""
    loaded = load(text, {})
    config = loaded.config
    assert loaded.warnings == ()
    assert config.server.verbose is True
    assert (config.server.debug, config.server.host, config.server.port) == (True, "::1", 8080)
    assert config.server.scripts == (
        Script("https://a.org/x.js"),
        Script("/static/y.js", "sha384-abcd", "anonymous"),
    )
    assert config.server.inline_scripts == ("a.js", "b.js")
    assert config.server.open_browser is True
    assert config.server.about_legal_tos == "https://a.org/tos"
    assert config.server.about_legal_privacy == "/static/cellxgene/deploy/privacy.html"
    assert config.server.force_https is True
    assert config.server.flask_secret_key == "hush"
    assert config.server.generate_cache_control_headers is False
    assert config.server.server_timing_headers is True
    assert config.server.csp_directives == {
        "connect-src": ("https://a.org", "wss://b.org"),
        "script-src": ("'unsafe-inline'", "*.c.org"),
        "upgrade-insecure-requests": (),
    }
    assert (config.presentation.max_categories, config.presentation.custom_colors) == (7, False)
    assert config.multi_dataset.dataroot == "lustre://fs-1.fsx.eu-west-1.amazonaws.com@tcp:/abcdefgh/sub"
    assert (config.multi_dataset.base_url, config.multi_dataset.index) == ("site/data", "https://a.org/")
    assert config.multi_dataset.matrix_cache.max_datasets == 3
    assert config.multi_dataset.matrix_cache.timelimit_s is None
    assert config.embeddings.names == ("umap", "1")
    assert (config.diffexp.enable, config.diffexp.lfc_cutoff, config.diffexp.top_n) == (False, 0.01, 25)
    s3 = config.data_locator.s3
    assert (s3.region_name, s3.no_sign_request, s3.endpoint_url) == ("eu-west-1", True, "http://minio:9000")
    assert config.adaptor.cxg_adaptor.tiledb_ctx == {
        "vfs.s3.max_parallel_ops": "16",
        "sm.x": "true",
        "sm.y": "0.5",
        "sm.z": "text",
    }
    assert (config.limits.column_request_max, config.limits.diffexp_cellcount_max) == (None, 100000)


@pytest.mark.parametrize(
    "dataroot", ["/data", "data/here", "s3://my-bucket", "s3://my.bucket/a/b/", "lustre://fs-1.fsx@tcp:/abcdefgh"]
)
def test_dataroots_that_are_taken(dataroot: str) -> None:
    assert load(f"multi_dataset: {{dataroot: '{dataroot}'}}", {}).config.multi_dataset.dataroot == dataroot


def test_a_switch_or_a_path_for_the_index_and_the_region() -> None:
    for written, value in [("true", True), ("false", False), ("null", False), ("/static/x.html", "/static/x.html")]:
        assert load(f"multi_dataset:\n  index: {written}\n", {}).config.multi_dataset.index == value
    for written, value in [("true", True), ("false", False), ("", False), ("us-east-1", "us-east-1")]:
        text = f"data_locator:\n  s3:\n    region_name: {written}\n"
        assert load(text, {}).config.data_locator.s3.region_name == value


def test_the_default_file_gives_the_defaults_and_no_warning() -> None:
    loaded = load(default_yaml(), {})
    assert loaded.config == default()
    assert loaded.warnings == ()


def test_the_default_file_holds_every_key_and_its_meaning() -> None:
    text = default_yaml()
    tree = yaml.safe_load(text)
    words = " ".join(text.replace("#", " ").split())
    for path, one in iterate_keys():
        section = tree
        for part in path:
            assert part in section
            section = section[part]
        assert " ".join(one.metadata["doc"].replace("#", " ").split()) in words


def test_the_environment_wins_over_the_file() -> None:
    text = "server:\n  host: a\n  port: 1\nmulti_dataset:\n  dataroot: /a\n"
    env = {"CXG_HOST": "0.0.0.0", "CXG_PORT": "8000", "CXG_DATAROOT": "s3://bucket/x", "HOME": "/root"}
    loaded = load(text, env)
    assert loaded.config.server.host == "0.0.0.0"
    assert loaded.config.server.port == 8000
    assert loaded.config.multi_dataset.dataroot == "s3://bucket/x"
    assert loaded.warnings == ()


def test_a_switch_may_come_from_the_environment() -> None:
    assert load("", {"CXG_VERBOSE": "true"}).config.server.verbose is True
    assert load("server: {verbose: true}", {"CXG_VERBOSE": "off"}).config.server.verbose is False


def test_an_empty_variable_counts_as_unset() -> None:
    config = load("server: {port: 7}", {"CXG_PORT": "", "CXG_DATAROOT": " "}).config
    assert config.server.port == 7
    assert config.multi_dataset.dataroot is None


def test_a_dataroot_may_be_all_digits() -> None:
    assert load("", {"CXG_DATAROOT": "2020"}).config.multi_dataset.dataroot == "2020"


def test_a_variable_sets_the_other_kind_of_data_aside() -> None:
    loaded = load("multi_dataset:\n  dataroot: /a\n", {"CXG_DATAPATH": "/b/c.cxg"}, "site.yaml")
    assert loaded.config.multi_dataset.dataroot is None
    assert loaded.config.single_dataset.datapath == "/b/c.cxg"
    assert loaded.warnings == ("site.yaml line 2: multi_dataset.dataroot has no effect: CXG_DATAPATH is set.",)
    loaded = load("single_dataset:\n  datapath: /b/c.cxg\n", {"CXG_DATAROOT": "/a"})
    assert loaded.config.single_dataset.datapath is None
    assert loaded.warnings == ("config.yaml line 2: single_dataset.datapath has no effect: CXG_DATAROOT is set.",)


@pytest.mark.parametrize(
    "text, number",
    [
        *(("0", 0.0), ("5", 5.0), ("5.", 5.0), (".5", 0.5), ("+0.25", 0.25), ("007", 7.0)),
        *(("1e-2", 0.01), (".5E1", 5.0), ("1_000.5", 1000.5), ("1_0", 10.0)),
    ],
)
def test_the_ways_to_write_a_number(text: str, number: float) -> None:
    assert load(f"diffexp:\n  lfc_cutoff: {text}\n", {}).config.diffexp.lfc_cutoff == number


def test_what_is_for_one_dataset_has_no_effect_on_a_folder_of_them() -> None:
    text = "single_dataset:\n  title: Mine\n  about: https://a.org\n"
    assert load(text, {"CXG_DATAPATH": "/b/c.cxg"}).warnings == ()
    assert load(text + "multi_dataset:\n  dataroot: /a\n", {}).warnings == tuple(
        f"config.yaml line {line}: single_dataset.{key} has no effect: it is for one dataset, not for a dataroot."
        for line, key in ((2, "title"), (3, "about"))
    )


def test_the_default_file_of_2020_is_accepted() -> None:
    loaded = load(FILE_OF_2020, {})
    assert loaded.warnings == (
        (
            "config.yaml line 34: user_annotations.enable has no effect: "
            "annotations are always off: this server only reads."
        ),
        (
            "config.yaml line 58: adaptor.cxg_adaptor.tiledb_ctx, setting sm.num_reader_threads, has no effect: "
            "TileDB no longer has it."
        ),
        (
            "config.yaml line 58: adaptor.cxg_adaptor.tiledb_ctx, setting sm.tile_cache_size, has no effect: "
            "TileDB no longer has it."
        ),
    )
    assert loaded.config.multi_dataset.index is False
    assert loaded.config.server.port == 5005
    assert loaded.config.adaptor.cxg_adaptor.tiledb_ctx == {}


def test_the_retired_tiledb_settings_are_unknown_to_tiledb() -> None:
    assert not RETIRED_TILEDB & tiledb.Config().dict().keys()


def test_an_old_key_that_asks_for_something_gives_one_warning_with_the_reason() -> None:
    text = """
user_annotations:
  enable: false
  type: hosted_tiledb_array
  local_file_csv: {directory: /x, file: y.csv}
  ontology: {enable: true, obo_location: z}
embeddings: {enable_reembedding: true}
multi_dataset: {allowed_matrix_types: [h5ad, cxg]}
single_dataset: {obs_names: cell, var_names: symbol}
diffexp: {alg_cxg: {max_workers: 2, cpu_multiplier: 0.5, target_workunit: 1000}}
adaptor: {anndata_adaptor: {backed: true}}
"""
    warned = [one.split(": ")[1].removesuffix(" has no effect") for one in load(text, {}).warnings]
    assert warned == [name for name in RETIRED if name != "user_annotations.enable"]


def test_secrets_are_not_in_the_repr() -> None:
    text = "server: {flask_secret_key: hush}\n"
    text += "adaptor: {cxg_adaptor: {tiledb_ctx: {vfs.s3.aws_secret_access_key: hush}}}"
    config = load(text, {}).config
    assert config.adaptor.cxg_adaptor.tiledb_ctx["vfs.s3.aws_secret_access_key"] == "hush"
    assert "hush" not in repr(config)


def test_the_configuration_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        default().server.port = 1  # type: ignore[misc]


def test_the_docs_are_those_of_the_code() -> None:
    written = (PROJECT / "docs" / "config.md").read_text(encoding="utf-8")
    assert written == docs_markdown(), "run: cxg config docs > docs/config.md"


def test_the_docs_name_every_key_and_variable() -> None:
    text = docs_markdown()
    for path, _ in iterate_keys():
        assert f"| `{'.'.join(path)}` |" in text
    for name in [*RETIRED, *(one.name for one in ENVIRONMENT)]:
        assert f"| `{name}` |" in text
