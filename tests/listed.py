"""Datasets, a catalog and pages as the list of datasets sees them, without files."""

import threading
from contextlib import contextmanager
from html.parser import HTMLParser
from types import SimpleNamespace

import numpy as np
from flask import Flask

from cxg.descriptions.beside import description_file
from cxg.descriptions.model import UNDESCRIBED, Described, Description
from cxg.errors import DatasetNotFound, StorageUnavailable
from cxg.format.columns import Column, Labels
from cxg.web.start_page import routes as gallery
from cxg.web.start_page.choose import Query
from cxg.web.start_page.listed import Listed
from cxg.web.start_page.page import StartPage

POLICY = "default-src 'self'"


def make_dataset(name="a.cxg", **changes):
    """A dataset as the gallery sees it, without files."""
    columns = (Column("n_genes", "int32"), Column("louvain", "categorical", ("T", "B")))
    about = {
        "name": name,
        "title": name.removesuffix(".cxg").upper(),
        "n_obs": 1234567,
        "n_var": 2000,
        "fingerprint": f"f-{name}",
        "x_problem": None,
        "view_problem": None,
        "embeddings": ("pca", "umap"),
        "default_embedding": None,
        "obs": SimpleNamespace(columns=columns, index="name_0"),
        "colors": {},
        "corpora": None,
        "about": None,
        "genesets": [],
    } | changes
    dataset = SimpleNamespace(**about, reads=[])

    def read_embedding(embedding):
        dataset.reads.append(embedding)
        return np.arange(2 * dataset.n_obs, dtype=np.float32).reshape(-1, 2)

    def read_column(axis, column):
        dataset.reads.append((axis, column))
        return Labels(np.zeros(dataset.n_obs, np.int8), ("T", "B"))

    def stored_embedding(embedding, first, last):
        dataset.reads.append(embedding)
        return np.arange(2 * first, 2 * (last + 1), dtype=np.float32).reshape(-1, 2).T

    dataset.read_embedding, dataset.stored_embedding = read_embedding, stored_embedding
    dataset.read_column = read_column
    return dataset


class FakeCatalog:
    """Datasets by name; an exception instead of one is raised by its lease, an event holds the lease up."""

    def __init__(self, *datasets, **others):
        self.held = {dataset.name: dataset for dataset in datasets} | {f"{name}.cxg": it for name, it in others.items()}
        self.gate = threading.Event()
        self.gate.set()
        self.leased, self.left, self.looks, self.files = [], [], [], {}
        self.away = None

    def names(self):
        if self.away:
            raise self.away
        return tuple(self.held)

    @contextmanager
    def lease(self, name):
        self.leased.append(name)
        assert self.gate.wait(30)
        try:
            found = self.held.get(name, DatasetNotFound(f"There is no dataset called {name} here."))
            if isinstance(found, Exception):
                raise found
            yield found
        finally:
            self.left.append(name)

    def list_files(self, name):
        self.looks.append(name)
        found = self.held.get(name)
        if found is None:
            raise DatasetNotFound(f"There is no dataset called {name} here.")
        return self.files.get(name, "damaged") if isinstance(found, Exception) else found.fingerprint


def make_client(catalog, **options):
    app = Flask("test", static_folder=None)
    app.register_blueprint(gallery.blueprint(catalog, **{"policy": POLICY} | options))

    @app.errorhandler(404)
    @app.errorhandler(DatasetNotFound)
    def missing(error):
        return gallery.error_page(404, "Nothing here", "<b>No</b> such thing.")

    @app.errorhandler(StorageUnavailable)
    def away(error):
        return gallery.error_page(503, "Away", str(error))

    return app.test_client()


class Page(HTMLParser):
    """Elements of a page with their attributes, and the text of each card."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.text, self.cards = [], "", []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag == "li" and "card" in dict(attrs).get("class", "").split():
            self.cards.append([dict(attrs), ""])

    def handle_data(self, data):
        self.text += " " + " ".join(data.split())
        last = self.elements[-1][1] if self.elements else {}
        href = last.get("href", "")
        if self.cards and (last.get("class") == "name" or (href.startswith("d/") and href.endswith("/"))):
            self.cards[-1][1] = f"{self.cards[-1][1]} {data.strip()}".strip()

    def all(self, tag, css_class=None):
        return [
            a for t, a in self.elements if t == tag and (css_class is None or css_class in a.get("class", "").split())
        ]

    @property
    def shown(self):
        return [text for attributes, text in self.cards if "hidden" not in attributes]


EVERYTHING = Query()


def list_page(known, pending, query=EVERYTHING, encoding="identity"):
    return Page(StartPage("d", (), "no-cache").answer(Listed(tuple(known), pending), query, encoding).body.decode())


class Said:
    """Descriptions by the name of a dataset, without files; those with a version are on a file system."""

    def __init__(self, **descriptions):
        self.held = {
            f"{name}.cxg": Described(Description(**said), (), repr(said)) for name, said in descriptions.items()
        }
        self.stamps = dict.fromkeys(self.held, 1)

    def files(self):
        return {description_file(name): stamp for name, stamp in self.stamps.items()}

    def of(self, name):
        return self.held.get(name, UNDESCRIBED)

    def gene_sets(self, name):
        return None


def wait_until(met, attempts=2000):
    pause = threading.Event()
    for _ in range(attempts):
        if met():
            return
        pause.wait(0.01)
    raise AssertionError("it never happened")
