"""Tables as CSV: read back by Python's own reader, as pandas and spreadsheets read them."""

import csv
import io
import math

import pytest

from cxg.wire.csv_table import write_table
from tests.tables import read_table

ODD = ("g,1", 'g"8', "g\n9", "g#10", "#11", "é6", "", " 12 ", "NA")
FORMULAS = ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "'quoted", "''twice")


@pytest.mark.parametrize("text", [*ODD, *FORMULAS])
def test_texts_come_back(text):
    table = read_table(write_table({}, ["name", "n"], [(text, 1), ("next", 2)]))
    assert table.rows == [{"name": text, "n": "1"}, {"name": "next", "n": "2"}]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_field_begins_like_a_formula(text):
    body = write_table({}, [text], [(text,)]).decode()
    fields = [field for row in csv.reader(io.StringIO(body, newline="")) for field in row]
    assert fields == [f"'{text}"] * 2


@pytest.mark.parametrize("number", [0.0, -1.5, 1 / 3, 5e-324, 1.7976931348623157e308, math.inf, -math.inf])
def test_numbers_keep_all_digits(number):
    table = read_table(write_table({}, ["x"], [(number,)]))
    assert float(table.rows[0]["x"]) == number


def test_nan_is_an_empty_field():
    assert write_table({}, ["x", "y"], [(math.nan, 3)]).endswith(b"\r\n,3\r\n")


def test_notes_stay_on_their_lines():
    body = write_table({"title": 'a "b"\r\nnot,a row\n# c', "cells": 7}, ["x"], [(1,)])
    assert body.split(b"\r\n") == [b"# title: a 'b' not,a row # c", b"# cells: 7", b'"x"', b"1", b""]


def test_half_a_surrogate_pair_is_replaced():
    assert b'"?"' in write_table({}, ["x"], [("\ud800",)])
