"""``vaebench check`` as a command: exit codes, what it prints and writes, and every kind of bad input."""

import csv
import io
import json
import re
import subprocess
import sys
from xml.etree import ElementTree

import pytest

COLUMNS = [
    *("dataset", "split", "stratum", "recipe", "metric", "protocol", "unit", "direction", "value", "std_error"),
    *("ci_low", "ci_high", "seeds", "n", "rank_low", "rank_high", "data_fingerprint", "extractor_sha256"),
    *("vaebench_version", "device", "note", "margin", "df"),
]
ROW = {
    **{"dataset": "digits", "split": "test", "stratum": "all", "recipe": "vae-digits", "metric": "ssim"},
    **{"protocol": "recon", "unit": "ratio", "direction": "higher", "value": 0.8, "std_error": 0.001},
    **{"seeds": 5, "n": 360, "data_fingerprint": "aa", "vaebench_version": "0.1.0", "margin": "0.01", "df": 4},
}
OK, WORSE, UNSURE, BETTER = {}, {"value": 0.7}, {"value": 0.788}, {"value": 0.9}


def text_of(*rows, columns=COLUMNS):
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows([ROW | row for row in rows])
    return out.getvalue()


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The working directory, with an accepted table of one row."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "accepted.csv").write_text(text_of(OK))
    return tmp_path


@pytest.fixture
def check(cli, home):
    """Write both tables and call the command."""

    def call(new, *arguments, accepted=None):
        (home / "new.csv").write_text(text_of(*new), encoding="utf-8")
        if accepted is not None:
            (home / "accepted.csv").write_text(text_of(*accepted), encoding="utf-8")
        return cli(["check", "new.csv", "--baseline", "accepted.csv", *arguments])

    return call


@pytest.fixture
def refused(cli, home):
    """Call a check that must fail as bad input, and write nothing; returns its one line."""

    def call(arguments):
        before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
        answer = cli(["check", *arguments])
        assert answer.code == 2, answer
        assert answer.out == ""
        assert answer.err.startswith("error: ")
        assert answer.err.count("\n") == 1
        assert "Traceback" not in answer.err
        assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before
        return answer.err

    return call


BOTH = ["new.csv", "--baseline", "accepted.csv"]


@pytest.mark.parametrize(
    ("new", "code", "summary"),
    [
        (OK, 0, "1 ok: passes"),
        (BETTER, 0, "1 improved: passes"),
        (WORSE, 1, "1 regression: fails"),
        (UNSURE, 3, "1 undecided: cannot decide"),
        ({"value": ""}, 1, "1 missing: fails"),
        ({"recipe": "other"}, 1, "1 missing, 1 new: fails"),
    ],
)
def test_exit_codes_and_the_last_line(check, new, code, summary):
    answer = check([new])
    assert (answer.code, answer.err) == (code, "")
    assert answer.out.splitlines()[-1] == summary


def test_the_table(check):
    names = {"b": WORSE, "a": WORSE, "c": UNSURE, "d": BETTER, "e": OK}
    answer = check(
        [*({"metric": name} | row for name, row in names.items()), {"metric": "new"}],
        "--allow-missing",
        "gone",
        accepted=[*({"metric": name} for name in (*names, "gone")), {"metric": "cost", "margin": ""}],
    )
    lines = answer.out.splitlines()
    assert answer.code == 1
    assert [line.split()[1] for line in lines[1:8]] == ["a", "b", "c", "e", "d", "gone", "new"]
    assert lines[1].split("  ")[-1] == "regression"
    assert re.search(r"0\.8000 +0\.7000 +\+0\.1000 \[\+0\.09\d+, \+0\.10\d+\] +0\.01000 ", lines[1])
    assert "undecided: too few seeds: at least " in lines[3]
    expected = "2 regressions, 1 undecided, 1 ok, 1 improved, 1 missing as allowed, 1 new, 1 without a margin: fails"
    assert lines[-1] == expected


def test_the_same_table_twice_is_fine(cli, home):
    assert cli(["check", "accepted.csv", "--baseline", "accepted.csv"]).code == 0


def test_one_checkpoint_is_remarked(check):
    one = {"seeds": 1, "df": 359}
    answer = check([one], accepted=[one])
    assert "1 row has one training seed on a side" in answer.out


def test_options_that_are_given(check):
    assert check([UNSURE], "--margin", "ssim=0.1").code == 0
    assert check([WORSE], "--margin", "ssim=1%").code == 1
    both = [OK, {"metric": "fid", "direction": "lower", "value": 9}]
    assert check([OK], "--margin", "fid=none", accepted=both).code == 0
    assert check([OK], "--allow-missing", "vae-digits:fid").code == 0
    assert check([OK], "--allow-missing", "ssim").code == 1


def test_windows_files_and_a_byte_order_mark(cli, home):
    (home / "new.csv").write_bytes(b"\xef\xbb\xbf" + text_of(OK).replace("\n", "\r\n").encode() + b"\r\n")
    assert cli(["check", *BOTH]).code == 0


# everything that a format could trip over: markup, a table's cells, quotes, lines, control characters, other scripts
NASTY = "a<b>&\"c\"|'d'\n\x1b[31m`*[x](y)*` ]]> é 漢"
WRITES = ["--markdown", "out/check.md", "--junit", "out/check.xml", "--json", "out/check.json"]
MIXED = [{"recipe": "r1"} | WORSE, {"recipe": "r2"} | UNSURE, {"recipe": "r3"}, {"recipe": "r5"}]
ACCEPTED = [{"recipe": name} for name in ("r1", "r2", "r3", "r4")] + [{"recipe": "r6"}]


def test_junit(check, home):
    assert check(MIXED, *WRITES, "--allow-missing", "r6", accepted=ACCEPTED).code == 1
    root = ElementTree.parse(home / "out" / "check.xml").getroot()
    suite = root.find("testsuite")
    assert root.tag == "testsuites"
    for element in (root, suite):
        assert {name: element.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
            "tests": "5",
            "failures": "2",
            "errors": "0",
            "skipped": "2",
        }
    cases = {case.get("classname"): [child.tag for child in case] for case in suite}
    assert cases == {"r1": ["failure"], "r2": ["skipped"], "r3": [], "r4": ["failure"], "r6": ["skipped"]}
    assert {case.get("name") for case in suite} == {"ssim (recon)"}
    assert {failure.get("type") for failure in suite.iter("failure")} == {"regression", "missing"}
    assert all(element.get("message") for tag in ("failure", "skipped") for element in suite.iter(tag))


def test_json(check, home):
    answer = check(MIXED, *WRITES, accepted=ACCEPTED)
    told = json.loads((home / "out" / "check.json").read_text())
    assert (told["schema"], told["exit_code"], told["outcome"]) == (1, 1, "fails")
    assert told["summary"] == answer.out.splitlines()[-1]
    assert told["counts"] == {
        **{"regression": 1, "missing": 2, "undecided": 1, "ok": 1, "improved": 0, "identical": 0, "allowed": 0},
        **{"new": 1, "without_margin": 0},
    }
    worst = told["rows"][0]
    assert (worst["recipe"], worst["verdict"], worst["margin"]) == ("r1", "regression", 0.01)
    assert worst["degradation"] == pytest.approx(0.1)
    assert worst["ci_low"] < 0.1 < worst["ci_high"]
    assert worst["baseline"] == {"value": 0.8, "std_error": 0.001, "df": 4, "seeds": 5, "n": 360, "note": ""}
    assert [row["candidate"] for row in told["rows"] if row["verdict"] == "missing"] == [None, None]
    assert [row["recipe"] for row in told["new"]] == ["r5"]


def test_markdown(check, home):
    check(MIXED, *WRITES, accepted=ACCEPTED)
    text = (home / "out" / "check.md").read_text()
    assert text.startswith("## vaebench check: fails\n")
    shown, _, folded = text.partition("<details>")
    assert "| r1 |" in shown
    assert "| r3 |" not in shown
    assert "<summary>1 ok</summary>" in folded
    assert text.count("<details>") == text.count("</details>") == 2


def test_names_are_escaped(check, home):
    rows = [{"recipe": NASTY, "metric": NASTY, "protocol": NASTY}]
    answer = check([rows[0] | WORSE], *WRITES, accepted=rows)
    plain = "".join(sign if sign.isprintable() else " " for sign in NASTY)
    assert answer.code == 1
    assert plain in answer.out
    assert "\x1b" not in answer.out
    assert len(answer.out.splitlines()) == 4
    case = ElementTree.parse(home / "out" / "check.xml").getroot().find("testsuite/testcase")
    assert (case.get("classname"), case.get("name")) == (plain, f"{plain} ({plain})")
    assert json.loads((home / "out" / "check.json").read_text(encoding="utf-8"))["rows"][0]["recipe"] == plain
    table = [line for line in (home / "out" / "check.md").read_text(encoding="utf-8").splitlines() if line[:1] == "|"]
    assert {line.count("|") for line in table} == {8}
    assert not re.search(r"[<>`*\[\]]", "".join(table[2:]))


@pytest.mark.parametrize("new", [[OK], MIXED])
def test_byte_identical(check, home, new):
    said = []
    for _ in range(2):
        answer = check(new, *WRITES, accepted=ACCEPTED)
        said.append([answer.out, *((home / "out" / f"check.{kind}").read_bytes() for kind in ("md", "xml", "json"))])
    assert said[0] == said[1]
    reordered = check(new[::-1], *WRITES, accepted=ACCEPTED[::-1])
    assert [reordered.out, (home / "out" / "check.md").read_bytes()] == said[0][:2]


SPOILED = [
    (b"", "new.csv is empty"),
    (b"\n\n", "new.csv is empty"),
    (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", "new.csv is no text"),
    (b"a\0b\n", "new.csv is no text"),
    (b'{"rows": []}', "new.csv lacks the columns dataset, split, stratum,"),
    (b'dataset,"split\n', "new.csv, line 1 is no CSV"),
    (text_of(OK, columns=[name for name in COLUMNS if name not in ("value", "n")]), "lacks the columns value, n:"),
    (text_of(OK, columns=[*COLUMNS, "unit"]), "has the column 'unit' twice"),
    (text_of(), "has a header but no rows"),
    (text_of(OK) + "digits,test\n", "new.csv, line 3 has 2 cells, the header 23"),
    (text_of({"value": "high"}), "new.csv, line 2: value 'high' is no number"),
    (text_of({"value": "1_0"}), "value '1_0' is no number"),
    (text_of({"value": "nan"}), "value nan is not finite"),
    (text_of({"value": "-inf"}), "value -inf is not finite"),
    (text_of({"value": "1e400"}), "value 1e400 is beyond"),
    (text_of({"std_error": "x"}), "std_error 'x' is no number"),
    (text_of({"std_error": "-0.1"}), "std_error -0.1 is negative"),
    (text_of({"std_error": "inf"}), "std_error inf is not finite"),
    (text_of({"df": "0"}), "df 0 is below 1"),
    (text_of({"df": "NaN"}), "df NaN is not finite"),
    (text_of({"seeds": "2.5"}), "seeds '2.5' is no whole number"),
    (text_of({"n": ""}), "n '' is no whole number"),
    (text_of({"direction": "hihger"}), "direction 'hihger' is none: did you mean 'higher'?"),
    (text_of({"margin": "5 %"}), "margin '5 %' is none: write 0.01"),
    (text_of({"margin": "-1"}), "margin '-1' is none"),
    (text_of(OK, BETTER), "new.csv, line 3 repeats line 2 (vae-digits ssim (recon))"),
    (text_of(OK, {"unit": "decibels"}), "new.csv, line 3 repeats line 2"),
    (text_of({"data_fingerprint": "b\nb"}), "has data_fingerprint 'b b', but 'aa' in accepted.csv, line 2"),
    (text_of({"protocol": "other"}), "has protocol 'recon' in accepted.csv, line 2, but 'other' in new.csv"),
    (text_of({"dataset": "mnist"}), "new.csv is of mnist, accepted.csv of digits: give two tables of one dataset"),
]


@pytest.mark.parametrize(("content", "message"), SPOILED, ids=[message for _, message in SPOILED])
def test_spoiled_tables(refused, home, content, message):
    (home / "new.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    assert message in refused([*BOTH, *WRITES])


@pytest.mark.parametrize(
    "side", [["gone.csv", "--baseline", "accepted.csv"], ["accepted.csv", "--baseline", "gone.csv"]]
)
def test_files_that_cannot_be_read(refused, home, side):
    assert "gone.csv does not exist: give a leaderboard.csv" in refused(side)
    (home / "gone.csv").mkdir()
    assert "gone.csv is a folder" in refused(side)


@pytest.mark.parametrize("lacking", ["margin", "df", "both"])
def test_older_tables(refused, cli, home, lacking):
    columns = [name for name in COLUMNS if name != lacking and (lacking != "both" or name not in ("margin", "df"))]
    (home / "old.csv").write_text(text_of(OK, columns=columns))
    arguments = ["accepted.csv", "--baseline", "old.csv"]
    assert cli(["check", *arguments, "--margin", "ssim=0.01"]).code == 0
    if lacking == "df":
        assert cli(["check", *arguments]).code == 0
    else:
        line = refused(arguments)
        assert "old.csv leaves nothing to gate" in line
        assert "--margin ssim=0.01" in line


OPTIONS = [
    (["--margin", "ssim"], "sets no margin: write --margin METRIC=VALUE"),
    (["--margin", "=1"], "sets no margin"),
    (["--margin", "ssim="], "sets no margin"),
    (["--margin", "sism=1"], "did you mean 'ssim'?"),
    (["--margin", "ssim=-0.1"], "margin '-0.1' is none"),
    (["--margin", "ssim=nan"], "margin 'nan' is none"),
    (["--margin", "ssim=5 %"], "margin '5 %' is none"),
    (["--margin", "ssim=1", "--margin", "ssim=2"], "sets the margin of ssim again"),
    (["--margin", "ssim=none"], "leaves nothing to gate"),
    (["--allow-missing", "sism"], "did you mean 'ssim'?"),
    (["--json", "-"], "'-' is no file"),
    (["--json", "accepted.csv"], "accepted.csv is to be written, but is another file of this check"),
    (["--json", "x", "--junit", "./x"], "x is to be written, but is another file of this check"),
    (["--json", "accepted.csv/x"], "cannot write to accepted.csv"),
    (["--json", "."], "cannot write"),
]


@pytest.mark.parametrize(("options", "message"), OPTIONS, ids=[" ".join(options) for options, _ in OPTIONS])
def test_bad_options(refused, home, options, message):
    (home / "new.csv").write_text(text_of(OK))
    assert message in refused([*BOTH, *options])


def test_the_baseline_must_be_given(refused):
    assert "Missing option '--baseline'" in refused(["accepted.csv"])


def test_without_the_real_images(refused, home):
    for name in ("new.csv", "accepted.csv"):
        (home / name).write_text(text_of({"direction": "target"}))
    assert "accepted.csv has no value of the real images for ssim (recon)" in refused(BOTH)


def test_a_reader_that_has_seen_enough_changes_no_verdict(home):
    (home / "new.csv").write_text(text_of(*({"metric": f"m{k}"} | WORSE for k in range(2_000))))
    (home / "accepted.csv").write_text(text_of(*({"metric": f"m{k}"} for k in range(2_000))))
    line = f"{sys.executable} -m vaebench check {' '.join(BOTH)} | true; exit ${{PIPESTATUS[0]}}"
    answer = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (1, "")


HEAVY = {"torch", "numpy", "scipy", "pandas", "matplotlib", "sklearn", "pyarrow", "PIL"}
COUNTED = """
import json, sys
from vaebench.cli.main import main
try:
    main(sys.argv[1:])
finally:
    print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_no_engine_is_loaded(home):
    (home / "new.csv").write_text(text_of(UNSURE))
    command = [sys.executable, "-c", COUNTED, "check", *BOTH, *WRITES]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (answer.returncode, answer.stderr) == (3, "")
    modules = set(json.loads(answer.stdout.splitlines()[-1]))
    assert "vaebench" in modules
    assert not modules & HEAVY
