import os
import pickle
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from reckon.references import BadReference, Kind, Reference, Unreadable, parse
from tests.canary import CANARIES, DYE

SECRET = CANARIES["inference_key"]
TOKEN = CANARIES["http_token"]


@pytest.fixture
def kept(tmp_path: Path, canary) -> Callable[..., Path]:
    """Write a file that holds a secret, or nearly."""

    def write(content: bytes = SECRET.encode(), mode: int = 0o600) -> Path:
        path = tmp_path / "secret"
        path.write_bytes(content)
        canary.allow(path)
        path.chmod(mode)
        return path

    return write


def opened(text: str, environ: dict[str, str] | None = None, timeout_seconds: float = 10.0) -> str:
    return parse(text).open(environ or {}, timeout_seconds=timeout_seconds).get_secret_value()


def refused(text: str, environ: dict[str, str] | None = None, timeout_seconds: float = 10.0) -> str:
    with pytest.raises(Unreadable) as caught:
        parse(text).open(environ or {}, timeout_seconds=timeout_seconds)
    told = "".join(traceback.format_exception(caught.value, chain=True))
    assert DYE not in told
    return str(caught.value)


def is_running(pid: str) -> bool:
    try:
        return " Z " not in Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return False


class TestWhereASecretMayBe:
    def test_a_variable(self):
        assert opened("env:MY_KEY", {"MY_KEY": SECRET}) == SECRET

    def test_a_private_file(self, kept):
        assert opened(f"file:{kept()}") == SECRET

    def test_a_credential_of_systemd(self, tmp_path, kept):
        kept()
        assert opened("credential:secret", {"CREDENTIALS_DIRECTORY": str(tmp_path)}) == SECRET

    def test_what_a_command_prints(self):
        assert opened(f"command:echo '{SECRET}'", dict(os.environ)) == SECRET

    def test_the_reference_itself_when_it_is_a_literal(self):
        assert parse(f"  {SECRET}\n").kind is Kind.LITERAL
        assert opened(SECRET) == SECRET

    def test_a_url_is_a_literal_although_it_has_a_colon(self):
        assert opened("https://hooks.slack.com/services/T0/B0/x") == "https://hooks.slack.com/services/T0/B0/x"

    @pytest.mark.parametrize(
        "content",
        [b"%s\n", b"  %s\r\n", b"\xef\xbb\xbf%s", b"\xef\xbb\xbf %s \n\n"],
        ids=["newline", "blanks", "byte order mark", "all of them"],
    )
    def test_what_editors_add_around_a_secret_is_taken_off(self, kept, content):
        assert opened(f"file:{kept(content % SECRET.encode())}") == SECRET

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a file of root's")
    def test_roots_file_may_be_readable_by_its_group_as_services_get_it(self, kept):
        assert opened(f"file:{kept(mode=0o440)}") == SECRET


class TestWhatIsNoReference:
    @pytest.mark.parametrize(
        ("text", "accepted"),
        [
            ("", "accepts env:NAME"),
            ("short", "accepts env:NAME"),
            (f"{SECRET} {TOKEN}", "accepts env:NAME"),
            (f"schlüssel-{TOKEN}", "accepts env:NAME"),
            (TOKEN * 12, "accepts env:NAME"),
            ("evn:MY_KEY", "may not begin with a word and a colon"),
            ("ENV:MY_KEY", "may not begin with a word and a colon"),
            (f"vault:{TOKEN}", "may not begin with a word and a colon"),
            (f"literal:{SECRET}", "may not begin with a word and a colon"),
            ("env:", "the name of a variable"),
            ("env:1A", "the name of a variable"),
            (f"env:{SECRET}", "the name of a variable"),
            (f"file:{SECRET}", "an absolute path"),
            (f"file:/{SECRET}", "an absolute path"),
            ("file:", "an absolute path"),
            (f"file:/a\0{TOKEN}", "an absolute path"),
            ("credential:../config", "the name of a credential"),
            ("credential:a/b", "the name of a credential"),
            (f"credential:{SECRET}", "the name of a credential"),
            ("command:", "a program and its arguments"),
            (f"command:echo '{TOKEN}", "a program and its arguments"),
            (f"command:{SECRET}", "a program and its arguments"),
            (f"sealed:{TOKEN}", "not built yet"),
        ],
    )
    def test_is_refused_with_what_would_be_accepted(self, text, accepted):
        with pytest.raises(BadReference) as caught:
            parse(text)
        assert accepted in str(caught.value)
        assert DYE not in str(caught.value)


class TestAFile:
    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o601])
    def test_that_others_may_read_is_refused(self, kept, mode):
        assert "other users" in refused(f"file:{kept(mode=mode)}")

    def test_that_is_not_there_is_refused(self, tmp_path):
        assert "No such file" in refused(f"file:{tmp_path}/none")

    def test_that_is_a_directory_is_refused(self, tmp_path):
        assert "regular file" in refused(f"file:{tmp_path}")

    def test_that_is_a_pipe_is_refused_without_waiting_for_a_writer(self, tmp_path):
        os.mkfifo(tmp_path / "pipe", 0o600)
        assert "regular file" in refused(f"file:{tmp_path}/pipe")

    def test_that_is_a_device_is_refused(self):
        assert "regular file" in refused("file:/dev/zero")

    def test_of_a_gigabyte_is_refused_after_64_kilobytes(self, kept):
        path = kept()
        os.truncate(path, 1 << 30)
        assert "at most 64 kB" in refused(f"file:{path}")
        path.unlink()

    @pytest.mark.parametrize("content", [b"", b"\n", b"\xef\xbb\xbf"])
    def test_that_is_empty_is_refused(self, kept, content):
        assert "is empty" in refused(f"file:{kept(content)}")

    @pytest.mark.parametrize(
        "content",
        [
            b"short",
            b"%s and more" % SECRET.encode(),
            b"%s\n%s" % (SECRET.encode(), TOKEN.encode()),
            b"%s\x00" % SECRET.encode(),
            b"\xff\xfe%s" % SECRET.encode(),
            b"x" * 513,
        ],
    )
    def test_that_holds_something_else_is_refused(self, kept, content):
        assert "8 to 512 visible ASCII" in refused(f"file:{kept(content)}")

    def test_holds_a_secret_of_8_and_of_512_characters(self, kept):
        for length in (8, 512):
            assert len(opened(f"file:{kept(b'x' * length)}")) == length


class TestAVariable:
    @pytest.mark.parametrize("environ", [{}, {"MY_KEY": ""}])
    def test_that_is_unset_or_empty_is_refused(self, environ):
        assert "not set" in refused("env:MY_KEY", environ)


class TestACredential:
    def test_outside_of_systemd_is_refused(self):
        assert "$CREDENTIALS_DIRECTORY is not set" in refused("credential:secret")


class TestACommand:
    def test_that_fails_is_refused_without_its_error_output(self, capfd):
        assert "status 1" in refused(f"command:sh -c 'echo {SECRET} >&2; echo {SECRET}; exit 1'", dict(os.environ))
        assert capfd.readouterr() == ("", "")

    def test_that_does_not_exist_is_refused(self):
        assert "cannot be started" in refused("command:no-such-program-here", dict(os.environ))

    def test_that_hangs_is_stopped(self, tmp_path):
        script = f"command:sh -c 'echo $$ > {tmp_path}/pid; exec sleep 60'"
        assert "within 0.5 s" in refused(script, dict(os.environ), timeout_seconds=0.5)
        with pytest.raises(ProcessLookupError):
            os.kill(int((tmp_path / "pid").read_text()), 0)

    def test_that_closes_its_output_and_hangs_is_stopped(self):
        assert "within 0.3 s" in refused(
            "command:sh -c 'exec >&-; exec sleep 60'", dict(os.environ), timeout_seconds=0.3
        )

    def test_whose_child_keeps_its_output_open_is_stopped(self):
        script = f"command:sh -c 'echo {SECRET}; sleep 60 & exit 0'"
        assert "within 0.3 s" in refused(script, dict(os.environ), timeout_seconds=0.3)

    def test_that_is_stopped_takes_its_children_along(self, tmp_path):
        script = f"command:sh -c 'sleep 60 & echo $! > {tmp_path}/child; wait'"
        refused(script, dict(os.environ), timeout_seconds=0.5)
        child = (tmp_path / "child").read_text().strip()
        deadline = time.monotonic() + 10
        while is_running(child):
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def test_that_never_stops_printing_is_stopped_at_64_kilobytes(self):
        assert "64 kB" in refused(f"command:yes {SECRET}", dict(os.environ))

    def test_sees_neither_our_keys_nor_our_input(self):
        script = "command:sh -c 'cat; echo ${OPENROUTER_KEY:-absent}-${VAULT_TOKEN:-absent}'"
        assert opened(script, dict(os.environ) | {"OPENROUTER_KEY": SECRET, "VAULT_TOKEN": "given"}) == "absent-given"

    def test_is_not_read_by_a_shell(self):
        assert opened("command:echo $HOME;exit", {"PATH": os.environ["PATH"], "HOME": "/root"}) == "$HOME;exit"


def test_a_reference_shows_its_place_and_no_secret():
    for text, shown in [
        ("env:A", "env:A"),
        ("file:/run/x", "file:/run/x"),
        ("credential:x", "credential:x"),
        (f"command:{sys.executable} -c '{TOKEN}'", f"command:{sys.executable}"),
        (SECRET, "literal"),
    ]:
        reference = parse(text)
        assert str(reference) == shown
        assert repr(reference) == f"<Reference {shown}>"


def test_a_reference_is_not_pickled():
    with pytest.raises(TypeError, match="pickled") as caught:
        pickle.dumps(parse(SECRET))
    assert DYE not in str(caught.value)


def test_equal_references_are_equal():
    assert parse("env:A") == parse(" env: A ")
    assert parse("env:A") != parse("env:B")
    assert isinstance(parse("env:A"), Reference)
