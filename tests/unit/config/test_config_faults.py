"""Every fault of a configuration file gives one clear sentence with the key and the line."""

from __future__ import annotations

import pytest

from cxg.config import load
from cxg.errors import ConfigError

# name: (file, sentences, in the file's order)
BAD_FILES: dict[str, tuple[str, list[str]]] = {
    "unknown key": (
        "server:\n  prot: 80\n",
        ["config.yaml line 2: server.prot is not a known key; the nearest one is server.port."],
    ),
    "unknown section": (
        "limit:\n  column_request_max: 5\n",
        ["config.yaml line 1: limit is not a known key; the nearest one is limits."],
    ),
    "key outside its section": (
        "dataroot: /data\n",
        ["config.yaml line 1: dataroot is not a known key; the nearest one is multi_dataset.dataroot."],
    ),
    "key in a wrong section": (
        "presentation:\n  max_categories: 5\n  top_n: 3\n",
        ["config.yaml line 3: presentation.top_n is not a known key; the nearest one is diffexp.top_n."],
    ),
    "a proxy without an address": (
        "access:\n  visible_to: signed-in\n  source: proxy\n",
        ["config.yaml line 3: access.source is proxy: name the proxy's address in access.proxy.addresses."],
    ),
    "a load balancer without its client": (
        (
            "access:\n  source: load-balancer\n  load_balancer:\n    issuer: https://login.example.org\n    signer: "
            "arn:aws:elasticloadbalancing:eu-central-1:123456789012:loadbalancer/app/cells/50dc6c495c0c9188\n"
        ),
        ["config.yaml line 2: access.source is load-balancer: set access.load_balancer.client."],
    ),
    "text for a number": (
        "server:\n  port: five\n",
        [
            "config.yaml line 2: server.port must be a whole number from 1 to 65535, or null, but is the text 'five'.",
        ],
    ),
    "port too large": (
        "server:\n  port: 70000\n",
        [
            "config.yaml line 2: server.port must be a whole number from 1 to 65535, or null, but is the number 70000.",
        ],
    ),
    "octal number": (
        "server:\n  port: 0777\n",
        ["config.yaml line 2: server.port must be a whole number from 1 to 65535, or null, but is the number 0777."],
    ),
    "underscores out of place": (
        "server:\n  port: 50_\npresentation:\n  max_categories: 1__0\ndiffexp:\n  lfc_cutoff: _1\n  top_n: 5_0_\n",
        [
            "config.yaml line 2: server.port must be a whole number from 1 to 65535, or null, but is the number 50_.",
            (
                "config.yaml line 4: presentation.max_categories must be a whole number of 1 or more, "
                "but is the number 1__0."
            ),
            "config.yaml line 6: diffexp.lfc_cutoff must be a number of 0 or more, but is the text '_1'.",
            "config.yaml line 7: diffexp.top_n must be a whole number of 1 or more, but is the number 5_0_.",
        ],
    ),
    "a number without end": (
        f"diffexp:\n  lfc_cutoff: 1{'0' * 400}\n",
        [
            f"config.yaml line 2: diffexp.lfc_cutoff must be a number of 0 or more, but is the number 1{'0' * 56}....",
        ],
    ),
    "quoted switch": (
        "server:\n  verbose: 'true'\n",
        [
            (
                "config.yaml line 2: server.verbose must be true or false, but is the text 'true'; "
                "write it without quotes."
            ),
        ],
    ),
    "number for a text": (
        "single_dataset:\n  title: 2020\n",
        [
            "config.yaml line 2: single_dataset.title must be text, or null, but is the number 2020; put it in quotes.",
        ],
    ),
    "date for a text": (
        "single_dataset:\n  title: 2020-06-01\n",
        [
            (
                "config.yaml line 2: single_dataset.title must be text, or null, but is the date 2020-06-01; "
                "put it in quotes."
            ),
        ],
    ),
    "list on the next line": (
        "# note\nserver:\n  host:\n    - a\n    - b\n",
        ["config.yaml line 3: server.host must be a host name or address, but is a list."],
    ),
    "null where a value is needed": (
        "diffexp:\n  enable:\n  top_n: 3\n",
        ["config.yaml line 2: diffexp.enable must be true or false, but is empty (null)."],
    ),
    "negative limit": (
        "limits:\n  column_request_max: -1\n",
        [
            (
                "config.yaml line 2: limits.column_request_max must be a whole number of 1 or more, or null, "
                "but is the number -1."
            )
        ],
    ),
    "zero time limit": (
        "multi_dataset:\n  matrix_cache:\n    timelimit_s: 0\n",
        [
            (
                "config.yaml line 3: multi_dataset.matrix_cache.timelimit_s must be a number more than 0, or null, "
                "but is the number 0."
            )
        ],
    ),
    "not a number": (
        "diffexp:\n  lfc_cutoff: .nan\n",
        ["config.yaml line 2: diffexp.lfc_cutoff must be a number of 0 or more, but is the number .nan."],
    ),
    "text for a section": (
        "server: yes please\n",
        ["config.yaml line 1: server must be a section with keys of its own, but is the text 'yes please'."],
    ),
    "list for a section": (
        "data_locator:\n  s3:\n    - region_name\n",
        ["config.yaml line 2: data_locator.s3 must be a section with keys of its own, but is a list."],
    ),
    "list for the file": (
        "- server\n",
        ["config.yaml line 1: the file must hold a section with keys of its own, but is a list."],
    ),
    "text for the file": (
        "just a note\n",
        ["config.yaml line 1: the file must hold a section with keys of its own, but is the text 'just a note'."],
    ),
    "key twice": (
        "server:\n  port: 1\n  host: h\n  port: 2\n",
        ["config.yaml line 4: server.port is given twice, first on line 2; keep one."],
    ),
    "section twice": (
        "server:\n  port: 1\nserver:\n  host: h\n",
        ["config.yaml line 3: server is given twice, first on line 1; keep one."],
    ),
    "merge key": (
        "server: &s\n  port: 1\nlimits:\n  <<: *s\n",
        ["config.yaml line 4: limits.<< is not read here; write the keys out."],
    ),
    "list as a key": (
        "server:\n  ? [a, b]\n  : 1\n",
        ["config.yaml line 2: server has a key that is a list; a key must be a word."],
    ),
    "tab": (
        "server:\n\tport: 1\n",
        ["config.yaml line 2: indented with a tab; YAML takes blanks only."],
    ),
    "bracket left open": (
        "embeddings:\n  names: [umap\nserver:\n  port: 1\n",
        ["config.yaml line 3: this is not valid YAML: while parsing a flow sequence expected ',' or ']', but got ':'."],
    ),
    "two documents": (
        "server:\n  port: 1\n---\nserver:\n  port: 2\n",
        ["config.yaml line 3: a second document starts here; keep one, without a line '---' between."],
    ),
    "control character": (
        "server:\n  host: a\x00b\n",
        ["config.yaml line 2: a control character; remove it."],
    ),
    "endless nesting": (
        "server: " + "[" * 20_000,
        ["config.yaml: sections inside sections without end; this is not a configuration."],
    ),
    "python object": (
        "server:\n  host: !!python/object/apply:os.system ['true']\n",
        ["config.yaml line 2: server.host must be a host name or address, but is a list."],
    ),
    "base_url on a path of the server": (
        "multi_dataset:\n  base_url: static/data\n",
        [
            (
                "config.yaml line 2: multi_dataset.base_url is 'static/data': the server uses /static itself; "
                "choose another first part, as in d."
            )
        ],
    ),
    "base_url that is no path": (
        "multi_dataset:\n  base_url: a b\n",
        [
            (
                "config.yaml line 2: multi_dataset.base_url is 'a b': the part 'a b' cannot stand in a path; "
                "use letters, digits, '.', '_', '~' and '-', as in d."
            )
        ],
    ),
    "base_url that climbs": (
        "multi_dataset:\n  base_url: d/..\n",
        [
            (
                "config.yaml line 2: multi_dataset.base_url is 'd/..': the part '..' cannot stand in a path; "
                "use letters, digits, '.', '_', '~' and '-', as in d."
            )
        ],
    ),
    "base_url empty": (
        "multi_dataset:\n  base_url: ''\n",
        ["config.yaml line 2: multi_dataset.base_url is empty; give a value or remove the key."],
    ),
    "index that is a word": (
        "multi_dataset:\n  index: list\n",
        [
            (
                "config.yaml line 2: multi_dataset.index is 'list': a link starts with https://, http:// or, "
                "for a path on this server, one slash."
            )
        ],
    ),
    "index that is a list": (
        "multi_dataset:\n  index: [a]\n",
        ["config.yaml line 2: multi_dataset.index must be true, false or a URL, but is a list."],
    ),
    "dataroot on another store": (
        "multi_dataset:\n  dataroot: gs://bucket/x\n",
        [
            (
                "config.yaml line 2: multi_dataset.dataroot is 'gs://bucket/x': gs:// is not a place datasets are read "
                "from; use a path, s3:// or lustre://."
            )
        ],
    ),
    "dataroot with a wrong bucket": (
        "multi_dataset:\n  dataroot: s3://My_Bucket/x\n",
        [
            (
                "config.yaml line 2: multi_dataset.dataroot is 's3://My_Bucket/x': 'My_Bucket' is not a bucket name "
                "(3 to 63 of a-z, 0-9, '.' and '-'); write it as s3://bucket/prefix."
            )
        ],
    ),
    "dataroot with one slash": (
        "multi_dataset:\n  dataroot: s3:/bucket/x\n",
        [
            (
                "config.yaml line 2: multi_dataset.dataroot is 's3:/bucket/x': write it with two slashes, "
                "as s3://bucket/prefix."
            )
        ],
    ),
    "dataroot on Lustre without a mount name": (
        "multi_dataset:\n  dataroot: lustre://fs-1.fsx.us-east-1.amazonaws.com\n",
        [
            (
                "config.yaml line 2: multi_dataset.dataroot is "
                "'lustre://fs-1.fsx.us-east-1.amazonaws.com': write it as "
                "lustre://<dns name>@tcp:/<mountname>, with a folder if wanted."
            )
        ],
    ),
    "dataroot with a tilde": (
        "multi_dataset:\n  dataroot: ~/data\n",
        [
            "config.yaml line 2: multi_dataset.dataroot is '~/data': only a shell expands ~; write the path in full.",
        ],
    ),
    "dataroot as a section": (
        "multi_dataset:\n  dataroot:\n    d1:\n      base_url: one\n      dataroot: /data\n",
        [
            (
                "config.yaml line 2: multi_dataset.dataroot is a section; one server has one "
                "dataroot here: give its path "
                "or URI, and its place in multi_dataset.base_url."
            )
        ],
    ),
    "datapath of an h5ad": (
        "single_dataset:\n  datapath: /data/pbmc.h5ad\n",
        [
            (
                "config.yaml line 2: single_dataset.datapath is '/data/pbmc.h5ad': the server reads CXGs; "
                "convert it first: cxg convert /data/pbmc.h5ad /data/pbmc.cxg."
            )
        ],
    ),
    "dataroot and datapath": (
        "multi_dataset:\n  dataroot: /data\nsingle_dataset:\n  datapath: /data/a.cxg\n",
        [
            (
                "config.yaml line 4: multi_dataset.dataroot and single_dataset.datapath are both given; "
                "give the one that is wanted."
            )
        ],
    ),
    "embedding names as text": (
        "embeddings:\n  names: umap\n",
        [
            (
                "config.yaml line 2: embeddings.names must be a list of embedding names, but is the text 'umap'; "
                "start each entry with a dash."
            )
        ],
    ),
    "embedding names of two faults": (
        "embeddings:\n  names:\n    - umap\n    - 5\n    - umap\n",
        [
            "config.yaml line 4: embeddings.names, entry 2, must be text, but is the number 5; put it in quotes.",
            "config.yaml line 5: embeddings.names has 'umap' twice; keep one.",
        ],
    ),
    "unknown CSP directive": (
        "server:\n  csp_directives:\n    img-src: [https://a.org]\n    script-source: [https://a.org]\n",
        [
            (
                "config.yaml line 4: server.csp_directives has 'script-source', which is not a CSP directive; "
                "the nearest one is 'script-src'."
            )
        ],
    ),
    "CSP keyword without its quotes": (
        "server:\n  csp_directives:\n    script-src:\n      - self\n      - a.org; img-src *\n",
        [
            (
                "config.yaml line 4: server.csp_directives.script-src, entry 1, is 'self': "
                """this needs its own single quotes: "'self'"."""
            ),
            (
                "config.yaml line 5: server.csp_directives.script-src, entry 2, is 'a.org; img-src *': "
                "a source has no blank, comma or semicolon; give each source an entry of its own."
            ),
        ],
    ),
    "script without src": (
        "server:\n  scripts:\n    - integrity: md5-abc\n      source: x.js\n",
        [
            (
                "config.yaml line 3: server.scripts, entry 1, integrity is 'md5-abc': "
                "write sha256-, sha384- or sha512- and the base64 of the hash."
            ),
            "config.yaml line 3: server.scripts, entry 1, lacks the key src, the address of the script.",
            (
                "config.yaml line 4: server.scripts, entry 1, has the unknown key source; "
                "it takes src, integrity and crossorigin."
            ),
        ],
    ),
    "inline script with a path": (
        "server:\n  inline_scripts: [../secret.js]\n",
        [
            (
                "config.yaml line 2: server.inline_scripts, entry 1, is '../secret.js': "
                "give the file's name alone; the folder is fixed."
            )
        ],
    ),
    "link that runs script": (
        "server:\n  about_legal_tos: javascript:alert(1)\n",
        [
            (
                "config.yaml line 2: server.about_legal_tos is 'javascript:alert(1)': a link "
                "starts with https://, http:// "
                "or, for a path on this server, one slash."
            )
        ],
    ),
    "host with a port": (
        "server:\n  host: localhost:8080\n",
        [
            (
                "config.yaml line 2: server.host is 'localhost:8080': give the name or address "
                "alone, without http:// and "
                "without a port (that is server.port)."
            )
        ],
    ),
    "endpoint without scheme": (
        "data_locator:\n  s3:\n    endpoint_url: minio:9000\n",
        [
            "config.yaml line 3: data_locator.s3.endpoint_url is 'minio:9000': write it in full, as https://host.",
        ],
    ),
    "region in words": (
        "data_locator:\n  s3:\n    region_name: US East\n",
        [
            (
                "config.yaml line 3: data_locator.s3.region_name is 'US East': this is not a region name; "
                "it looks like us-east-1."
            )
        ],
    ),
    "TileDB setting that is a list": (
        "adaptor:\n  cxg_adaptor:\n    tiledb_ctx:\n      vfs.s3.region: [a]\n",
        [
            (
                "config.yaml line 4: adaptor.cxg_adaptor.tiledb_ctx, setting vfs.s3.region, must be a text, a number "
                "or a switch."
            )
        ],
    ),
    "secret that is a number": (
        "server:\n  flask_secret_key: 31415926\n",
        [
            (
                "config.yaml line 2: server.flask_secret_key must be a text, or null, but is not; "
                "its value is not shown here. Put it in quotes."
            )
        ],
    ),
    "old key of a wrong type": (
        "user_annotations:\n  enable: perhaps\n",
        ["config.yaml line 2: user_annotations.enable must be true or false, but is the text 'perhaps'."],
    ),
    "unknown key in an old section": (
        "user_annotations:\n  local_file_csv:\n    folder: /x\n",
        [
            (
                "config.yaml line 3: user_annotations.local_file_csv.folder is not a known key; the nearest one is "
                "user_annotations.local_file_csv.file."
            )
        ],
    ),
    "many at once": (
        "server:\n  prot: 1\n  debug: maybe\nlimits:\n  column_request_max: none\n",
        [
            "config.yaml line 2: server.prot is not a known key; the nearest one is server.port.",
            "config.yaml line 3: server.debug must be true or false, but is the text 'maybe'.",
            (
                "config.yaml line 5: limits.column_request_max must be a whole number of 1 or more, or null, "
                "but is the text 'none'."
            ),
        ],
    ),
    "later layout": (
        (
            "server:\n  app:\n    port: 80\n    api_base_url: null\n  multi_dataset:\n    dataroot: /data\n"
            "  adaptor:\n    anndata_adaptor:\n      backed: false\n"
            "  authentication:\n    type: session\n"
            "dataset:\n  app:\n    about_legal_tos: /t\n  presentation:\n    max_categories: 5\n    cats: 1\n"
            "  user_annotations:\n    enable: true\n"
        ),
        [
            "config.yaml line 3: server.app.port belongs to a later cellxgene's layout; write server.port instead.",
            (
                "config.yaml line 4: server.app.api_base_url belongs to a later cellxgene's layout; remove it: "
                "the client finds its server by itself, also behind a proxy."
            ),
            (
                "config.yaml line 6: server.multi_dataset.dataroot belongs to a later cellxgene's layout; "
                "write multi_dataset.dataroot instead."
            ),
            (
                "config.yaml line 9: server.adaptor.anndata_adaptor.backed belongs to a later "
                "cellxgene's layout; remove "
                "it: h5ad files are not served; cxg convert always reads them piece by piece."
            ),
            (
                "config.yaml line 10: server.authentication belongs to a later cellxgene's layout; remove it: "
                "this server has no login; a plugin may check identity."
            ),
            (
                "config.yaml line 14: dataset.app.about_legal_tos belongs to a later cellxgene's layout; "
                "write server.about_legal_tos instead."
            ),
            (
                "config.yaml line 16: dataset.presentation.max_categories belongs to a later cellxgene's layout; "
                "write presentation.max_categories instead."
            ),
            (
                "config.yaml line 17: dataset.presentation.cats is not a known key; "
                "the nearest one is presentation.max_categories."
            ),
            (
                "config.yaml line 18: dataset.user_annotations belongs to a later cellxgene's layout; remove it: "
                "annotations are always off: this server only reads."
            ),
        ],
    ),
    "later layout, outer sections": (
        (
            "per_dataset_config:\n  d1:\n    diffexp:\n      enable: false\n"
            "external:\n  environment: []\n  aws_secrets_manager:\n    region: null\n"
            "default_dataset:\n  diffexp:\n    count: 15\n  embeddings:\n"
        ),
        [
            (
                "config.yaml line 1: per_dataset_config belongs to a later cellxgene's layout; remove it: "
                "one configuration holds for all datasets; run one server for each dataroot."
            ),
            (
                "config.yaml line 6: external.environment belongs to a later cellxgene's layout; remove it: "
                "environment variables have fixed names here: see docs/config.md."
            ),
            (
                "config.yaml line 7: external.aws_secrets_manager belongs to a later cellxgene's layout; remove it: "
                "set the environment variable CXG_AWS_SECRET_NAME."
            ),
            (
                "config.yaml line 11: default_dataset.diffexp.count belongs to a later cellxgene's layout; "
                "write diffexp.top_n instead."
            ),
            "config.yaml line 12: default_dataset.embeddings is a section of a later cellxgene's layout; remove it.",
        ],
    ),
}

# name: (environment, file, sentences)
BAD_ENVIRONMENTS: dict[str, tuple[dict[str, str], str, list[str]]] = {
    "port": (
        {"CXG_PORT": "http"},
        "",
        [
            (
                "environment variable CXG_PORT: server.port must be a whole number from 1 to 65535, or null, "
                "but is the text 'http'."
            )
        ],
    ),
    "dataroot": (
        {"CXG_DATAROOT": "https://x.org/data"},
        "",
        [
            (
                "environment variable CXG_DATAROOT: multi_dataset.dataroot is 'https://x.org/data': "
                "https:// is not a place datasets are read from; use a path, s3:// or lustre://."
            )
        ],
    ),
    "switch": (
        {"CXG_VERBOSE": "loud"},
        "",
        ["environment variable CXG_VERBOSE: server.verbose must be true or false, but is the text 'loud'."],
    ),
    "both": (
        {"CXG_DATAROOT": "/a", "CXG_DATAPATH": "/a/b.cxg"},
        "",
        ["CXG_DATAROOT and CXG_DATAPATH are both given; give the one that is wanted."],
    ),
    "environment and file": (
        {"CXG_HOST": "http://x"},
        "server:\n  verbose: 1\n",
        [
            (
                "environment variable CXG_HOST: server.host is 'http://x': give the name or "
                "address alone, without http:// "
                "and without a port (that is server.port)."
            ),
            "config.yaml line 2: server.verbose must be true or false, but is the number 1.",
        ],
    ),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_bad_file_is_answered_with_these_sentences(name: str) -> None:
    text, sentences = BAD_FILES[name]
    with pytest.raises(ConfigError) as caught:
        load(text, {})
    assert list(caught.value.problems) == sentences


@pytest.mark.parametrize("name", BAD_ENVIRONMENTS)
def test_a_bad_environment_is_answered_with_these_sentences(name: str) -> None:
    env, text, sentences = BAD_ENVIRONMENTS[name]
    with pytest.raises(ConfigError) as caught:
        load(text, env)
    assert list(caught.value.problems) == sentences


def test_no_secret_is_shown_in_a_fault() -> None:
    text = "server:\n  flask_secret_key: {key: hush-hush}\nadaptor:\n  cxg_adaptor:\n    tiledb_ctx:\n"
    text += "      vfs.s3.aws_secret_access_key: [hush-hush]\n"
    with pytest.raises(ConfigError) as caught:
        load(text, {})
    assert len(caught.value.problems) == 2
    assert "hush" not in str(caught.value)
