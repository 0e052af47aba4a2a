"""How data are written for a program: each form says the same, a list has a line for each of its items."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jq
import pytest
import yaml

from support.commands import called
from topstitch.cli.forms import sifted, written
from topstitch.foundation.errors import RequestError
from topstitch.store import Store

LISTED = {"items": [{"id": "a", "n": 1, "who": None, "tags": ["x", "y"]}, {"id": "=1+1", "n": 2.5, "ok": True}]}


def test_json_and_yaml_say_the_same():
    assert json.loads(written(LISTED, "json")) == yaml.safe_load(written(LISTED, "yaml")) == LISTED
    assert written(LISTED, "yaml").startswith("---\n")


def test_a_list_has_a_line_for_each_item_and_anything_else_one():
    assert [json.loads(line)["id"] for line in written(LISTED, "jsonl").splitlines()] == ["a", "=1+1"]
    assert written({"id": "a"}, "jsonl") == '{"id":"a"}\n'
    assert written({"items": []}, "jsonl") == written({"items": []}, "csv") == ""


def test_a_cell_holds_what_it_can_and_no_formula():
    rows = list(csv.reader(io.StringIO(written(LISTED, "csv"))))
    assert rows[0] == ["id", "n", "who", "tags", "ok"]
    assert rows[1] == ["a", "1", "", '["x","y"]', ""]
    assert rows[2] == ["'=1+1", "2.5", "", "", "true"]


@pytest.mark.parametrize(("form", "begins"), [("csv", "name,"), ("yaml", "---\n"), ("jsonl", "{"), ("table", "NAME")])
def test_a_command_prints_in_the_form_that_is_asked_for(form: str, begins: str, tmp_path: Path):
    Store.open(str(tmp_path / "topstitch.db"), threads=False).close()
    called("webhooks", "add", "https://example.com/in", "--data", str(tmp_path))
    listed = called("secrets", "list", "-o", form, "--data", str(tmp_path))
    assert (listed.code, listed.out.startswith(begins)) == (0, True), listed.out
    assert called("secrets", "list", "-o", "xml", "--data", str(tmp_path)).code == 2


def test_a_refusal_is_an_object_whatever_the_form(tmp_path: Path):
    refused = called("secrets", "list", "-o", "csv", "--data", str(tmp_path))
    assert json.loads(refused.err)["error"]["code"] == "no-data"


def sieved(sieve: str, form: str = "json") -> str:
    return "".join(sifted(LISTED, jq.compile(sieve), form))


def test_what_a_filter_makes_is_a_line_each_and_a_text_as_it_is():
    assert sieved(".items[].id") == "a\n=1+1\n"
    assert sieved(".items[0] | {tags, id}") == '{"tags":["x","y"],"id":"a"}\n'
    assert sieved(".items[1].n, .items[0].who, (.items | length / 4)") == "2.5\nnull\n0.5\n"
    assert sieved("empty") == ""
    assert sieved(".items[0]", "jsonl") == sieved(".items[0]")


def test_a_filter_goes_before_the_form():
    assert sieved(".items[] | {id, n}", "csv") == "id,n\na,1\n'=1+1,2.5\n"
    assert sieved(".items", "csv") == written(LISTED, "csv")
    assert list(yaml.safe_load_all(sieved(".items[].n", "yaml"))) == [1, 2.5]


def test_a_filter_that_does_not_fit_says_what_jq_says():
    with pytest.raises(RequestError, match="Cannot index array with string"):
        sieved(".items.id")
