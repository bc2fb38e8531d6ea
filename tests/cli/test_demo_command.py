"""`reckon demo`: the first command anybody runs, as a process without anything of ours around it."""

import os
import re
import subprocess
import sys

import pytest


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo")
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory), "TMPDIR": str(directory)}
    found = subprocess.run(
        [sys.executable, "-m", "reckon", "demo"],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env=environment,
        cwd=directory,
    )
    return found, directory


def test_it_succeeds_and_says_nothing_beside_its_answer(demo):
    found, _ = demo
    assert found.returncode == 0, found.stderr
    assert found.stderr == ""


def test_it_shows_spend_by_owner_and_by_day_of_a_month(demo):
    found, _ = demo
    by_owner, by_day = found.stdout.split("Spend by ")[1:3]
    assert by_owner.startswith("owner, 22 Oct 2026 00:00 to 21 Nov 2026 00:00 (UTC)")
    assert re.findall(r"^([\w-]+)  +\$", by_owner, re.MULTILINE)[:5] == [
        "nightly-refactor",
        "jonas",
        "mira",
        "support-bot",
        "lena",
    ]
    assert len(re.findall(r"^2026-\d\d-\d\d  ", by_day, re.MULTILINE)) == 30
    assert _total(by_owner) == _total(by_day)


def _total(table):
    return re.search(r"^Total +(\$[\d,.]+)", table, re.MULTILINE)[1]


def test_it_makes_plain_what_happened_on_the_last_day(demo):
    found, _ = demo
    assert "nightly-refactor ran away at 02:00" in found.stdout
    hours = found.stdout.split("Spend of nightly-refactor by hour")[1]
    spent = {
        hour: float(usd) for hour, usd in re.findall(r"^2026-11-20 (\d\d):00\+00:00 +\$([\d.]+)", hours, re.MULTILINE)
    }
    assert min(spent[hour] for hour in ("02", "03", "04", "05")) > 10 * max(spent.get("01", 0), spent.get("06", 0))


def test_it_verifies_its_ledger_and_leaves_nothing_behind(demo):
    found, directory = demo
    assert re.search(r"^verify: [\d,]+ snapshots read again, no difference\.$", found.stdout, re.MULTILINE)
    assert list(directory.iterdir()) == []


def test_it_fits_a_page_eighty_columns_wide(demo):
    found, _ = demo
    assert max(map(len, found.stdout.splitlines())) <= 80
    assert not [line for line in found.stdout.splitlines() if line != line.rstrip()]
