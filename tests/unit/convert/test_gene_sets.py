"""Gene sets of a conversion: from a file, and from scanpy's ranking of genes."""

from __future__ import annotations

import json

import h5py
import numpy as np
import pytest

from tests.served import serve
from tests.unit.convert.conftest import codes_of
from tests.unit.convert.h5ads import TEXT, make_h5ad, mark

HEADER = "gene_set_name,gene_set_description,gene_symbol,gene_description\n"


def ranking(groups, method="t-test", **figures):
    """Write `uns["rank_genes_groups"]` as anndata does: tables with a field for each group."""

    def write(parent, name):
        item = mark(parent.create_group(name), "dict", "0.1.0")
        params = mark(item.create_group("params"), "dict", "0.1.0")
        for key, value in {"groupby": "louvain", "method": method, "reference": "rest"}.items():
            params.create_dataset(key, data=value, dtype=TEXT)
        n = len(next(iter(groups.values())))
        names = np.zeros(n, [(label, h5py.string_dtype()) for label in groups])
        for label, genes in groups.items():
            names[label] = genes
        item.create_dataset("names", data=names)
        for key, values in figures.items():
            table = np.zeros(n, [(label, "f4") for label in groups])
            for label in groups:
                table[label] = values
            item.create_dataset(key, data=table)

    return write


def gene_sets(out, tmp_path):
    """The gene sets as the web client gets them."""
    client = serve(out.parent, tmp_path / "client")
    return json.loads(client.get(f"/d/{out.name}/api/v0.2/genesets").data)["genesets"]


def genes(sets):
    return {one["geneset_name"]: [gene["gene_symbol"] for gene in one["genes"]] for one in sets}


def test_markers_become_gene_sets(tmp_path, converted):
    uns = {
        "rank_genes_groups": ranking(
            {"B cells": ["gene2", "gene0", "gene1"], "T/NK, 50%": ["gene3", "gene1", "gene0"]},
            logfoldchanges=[2.5, 1.0, np.nan],
            pvals_adj=[1e-30, 0.5, 0.5],
        )
    }
    out, report = converted(make_h5ad(tmp_path / "in.h5ad", uns=uns), "--markers", "2")
    found = gene_sets(out, tmp_path)
    assert genes(found) == {"B cells (louvain)": ["gene2", "gene0"], "T/NK, 50% (louvain)": ["gene3", "gene1"]}
    assert found[0]["geneset_description"] == "First 2 marker genes against all other cells, t-test"
    assert found[0]["genes"][0]["gene_description"] == "log fold change 2.5, adjusted p 1e-30"
    assert report["gene_sets"] == 2


def test_a_ranking_of_old_anndata_is_read(tmp_path, converted):
    def old(parent, name):
        ranking({"B": ["gene2"]})(parent, name)
        params = parent[name]["params"]
        for key in list(params):
            text = np.array([params[key][()]], "S")
            del params[key]
            params.create_dataset(key, data=text)

    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", uns={"rank_genes_groups": old}))
    (found,) = gene_sets(out, tmp_path)
    assert found["geneset_name"] == "B (louvain)"
    assert found["geneset_description"].endswith("t-test")


def test_no_markers_are_taken_when_the_person_wants_none(tmp_path, converted):
    uns = {"rank_genes_groups": ranking({"B": ["gene2"]})}
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", uns=uns), "--markers", "0")
    assert gene_sets(out, tmp_path) == []


def test_markers_follow_the_names_of_genes(tmp_path, converted):
    """Data portals have identifiers as the index, by which genes are ranked, and symbols in a column."""
    uns = {"rank_genes_groups": ranking({"B": ["gene2", "gene0"]})}
    path = make_h5ad(tmp_path / "in.h5ad", uns=uns, var={"symbol": np.array(["A", "B", "C", "D"])})
    out, _ = converted(path, "--var-names", "symbol")
    assert genes(gene_sets(out, tmp_path)) == {"B (louvain)": ["C", "A"]}


def test_markers_that_the_cxg_lacks_are_left_out(tmp_path, converted):
    uns = {"rank_genes_groups": ranking({"B": ["raw1", "gene2", "gene0"], "none": ["raw1", "raw2", "raw3"]})}
    out, report = converted(make_h5ad(tmp_path / "in.h5ad", uns=uns), "--markers", "2")
    assert genes(gene_sets(out, tmp_path)) == {"B (louvain)": ["gene2", "gene0"]}
    assert "markers_dropped" in codes_of(report)


def test_a_ranking_of_another_form_is_left_out(tmp_path, converted):
    path = make_h5ad(tmp_path / "in.h5ad", uns={"rank_genes_groups": lambda parent, name: parent.create_group(name)})
    out, report = converted(path)
    assert gene_sets(out, tmp_path) == []
    assert "markers_dropped" in codes_of(report)


@pytest.mark.parametrize("name, text", [("sets.csv", HEADER + "mine,,gene1,\n"), ("sets.gmt", "mine\t\tgene1\tx\n")])
def test_the_sets_of_a_file_come_first_and_win(tmp_path, converted, name, text):
    (tmp_path / name).write_text(text)
    uns = {"rank_genes_groups": ranking({"B": ["gene2"]})}
    out, _ = converted(make_h5ad(tmp_path / "in.h5ad", uns=uns), "--gene-sets", tmp_path / name)
    assert genes(gene_sets(out, tmp_path)) == {"mine": ["gene1"], "B (louvain)": ["gene2"]}


def test_genes_of_a_file_that_the_cxg_lacks_are_named(tmp_path, converted):
    (tmp_path / "sets.gmt").write_text("mine\t\tgene1\tother\n")
    out, report = converted(make_h5ad(tmp_path / "in.h5ad"), "--gene-sets", tmp_path / "sets.gmt")
    assert genes(gene_sets(out, tmp_path)) == {"mine": ["gene1"]}
    (note,) = [note for note in report["notes"] if note["code"] == "gene_set_genes_dropped"]
    assert note["text"] == "1 genes are not among the genes of the CXG, and are left out of its sets: other."


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("sets.csv", "a,b\n", "sets.csv, line 1: the first line must name the columns gene_set_name,"),
        ("sets.txt", "a", "must end with .csv or .gmt"),
        ("absent.csv", None, "absent.csv does not exist."),
    ],
)
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_a_file_of_gene_sets_that_is_not_valid(tmp_path, convert, capsys, name, text, said, check):
    if text is not None:
        (tmp_path / name).write_text(text)
    code, _ = convert(make_h5ad(tmp_path / "in.h5ad"), tmp_path / "out.cxg", "--gene-sets", tmp_path / name, *check)
    assert code == 2
    assert f"--gene-sets: {tmp_path}" in (said_text := capsys.readouterr().err)
    assert said in said_text
    assert not (tmp_path / "out.cxg").exists()


@pytest.mark.parametrize("count", ["-1", "201", "many"])
def test_a_number_of_markers_that_is_not_valid(tmp_path, convert, count):
    with pytest.raises(SystemExit) as stopped:
        convert(make_h5ad(tmp_path / "in.h5ad"), "--markers", count)
    assert stopped.value.code == 2
