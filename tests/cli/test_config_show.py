"""`reckon config show`."""

import re


def test_every_setting_in_force_is_told_with_its_origin(town, monkeypatch):
    town.settle({"ravi": ["laptop"]}, zone="Europe/Vienna")
    monkeypatch.setenv("RECKON_POLL__EVERY", "5m")
    rows = {row["setting"]: (row["value"], row["origin"]) for row in town.rows("config", "show")}
    assert rows["timezone"] == ("Europe/Vienna", str(town.config))
    assert rows["poll.every"] == ("5m", "RECKON_POLL__EVERY")
    assert rows["poll.concurrency"] == ("32", "default")
    assert rows["store.url"] == (f"sqlite:///{town.database}", "default")
    assert rows["openrouter.management_key"] == (None, "default")


def test_of_a_secret_only_where_it_lies(town):
    town.settle({"ravi": ["laptop"]})
    rows = {row["setting"]: row["value"] for row in town.rows("config", "show")}
    assert rows["owners.ravi.keys[0].key"] == "set (literal)"
    assert town.key("laptop").secret[9:25] not in town.reckon("config", "show").out


def test_it_opens_neither_secret_nor_database(town, secret_file):
    secret_file("reckon.toml", '[owners.ravi]\nkeys = [{ name = "laptop", key = "env:NOT_SET_ANYWHERE" }]\n')
    assert town.reckon("config", "show").code == 0
    assert not town.database.exists()


def test_origin_leaves_the_defaults_out(town):
    town.settle({"ravi": ["laptop"]})
    rows = town.rows("config", "show", "--origin")
    assert rows
    assert "default" not in {row["origin"] for row in rows}


def test_the_table_names_the_file_once(town, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")  # wide enough for wherever the file may lie
    town.settle({"ravi": ["laptop"]})
    shown = town.reckon("config", "show")
    assert shown.out.count(str(town.config)) == 1
    assert re.search(r"^timezone +UTC +file$", shown.out, re.MULTILINE)
    assert re.search(r"^openrouter.management_key +not set +default$", shown.out, re.MULTILINE)


def test_without_a_file_the_defaults_are_in_force(tmp_path, monkeypatch, capsys):
    from reckon.cli import run  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    assert run(["config", "show"]) == 0
    assert "There is no configuration file." in capsys.readouterr().out
