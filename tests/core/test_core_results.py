"""Results: JSON lines that come back as they went, are never rewritten, and say which line is broken."""

from dataclasses import replace

import pytest

from vaebench.core.errors import UserError
from vaebench.core.results import Provenance, Result, append, count_without_digest, latest, read, write_together

PROVENANCE = Provenance(
    data_fingerprint="d" * 64,
    weights_sha256="w" * 64,
    extractor_sha256="",
    vaebench_version="0.1.0",
    versions={"torch": "2.15.0"},
    device="a processor, 2 cores",
    command="vaebench evaluate vae-digits --metrics 'blur'",
    created="2025-01-02T03:04:05+00:00",
    seconds=1.25,
)
BLUR = Result(
    recipe="vae-digits",
    seed=0,
    dataset="digits",
    split="test",
    stratum="label!=1",
    metric="blur",
    protocol="recon",
    unit="variance",
    direction="target",
    value=0.1 + 0.2,
    std_error=1e-300,
    n=360,
    note="",
    provenance=PROVENANCE,
)
UNTAKEN = replace(BLUR, recipe="real", seed=None, value=None, std_error=None, note="needs a posterior, “none” here")


def test_round_trip(tmp_path):
    file = tmp_path / "runs" / "results.jsonl"
    append(file, [BLUR, UNTAKEN])
    assert read(file) == [BLUR, UNTAKEN]
    assert len(file.read_text().splitlines()) == 2


def test_appending_leaves_what_stood_there(tmp_path):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR])
    before = file.read_bytes()
    append(file, [UNTAKEN])
    append(file, [])
    assert file.read_bytes().startswith(before)
    assert read(file) == [BLUR, UNTAKEN]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (replace(BLUR, value=float("nan")), "blur of vae-digits is nan: not a result"),
        (replace(BLUR, value=float("inf")), "blur of vae-digits is inf: not a result"),
        (replace(BLUR, value=float("-inf")), "blur of vae-digits is -inf: not a result"),
        (replace(BLUR, std_error=float("nan")), "JSON compliant"),
        (replace(BLUR, std_error=float("inf")), "JSON compliant"),
    ],
)
def test_what_is_not_finite_is_refused_and_nothing_is_written(tmp_path, bad, message):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR])
    before = file.read_bytes()
    with pytest.raises(ValueError, match=message):
        append(file, [UNTAKEN, bad])
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "broken",
    [
        b"no json at all",
        b"{}",
        b"[1, 2]",
        b"null",
        b'{"recipe": "vae"}',
        b'{"provenance": 3}',
        b"\xff\xfe\x00 no text",
        b"",
    ],
)
def test_a_malformed_line_is_named(tmp_path, broken):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR, UNTAKEN])
    first, second = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([first, broken, second]) + b"\n")
    with pytest.raises(UserError, match=r"results.jsonl line 2 (cannot be read|is damaged)") as raised:
        read(file)
    assert "\n" not in str(raised.value)


def test_an_unknown_field_is_named(tmp_path):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR])
    file.write_text(file.read_text().replace('"recipe"', '"recipee"'))
    with pytest.raises(UserError, match=r"line 1 (cannot be read|is damaged)"):
        read(file)


def test_a_truncated_last_line_is_named(tmp_path):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR, UNTAKEN])
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(UserError, match=r"line 2 (cannot be read|is damaged)"):
        read(file)


def test_a_truncated_last_line_does_not_spoil_what_is_appended(tmp_path):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR])
    file.write_bytes(file.read_bytes()[:-40])
    append(file, [UNTAKEN])
    _, last = file.read_text().splitlines()
    file.write_text(last + "\n")
    assert read(file) == [UNTAKEN]


def test_a_note_is_kept_on_one_line_without_control_characters(tmp_path):
    append(tmp_path / "results.jsonl", [replace(UNTAKEN, note="first\nsecond\x1b[2J")])
    assert read(tmp_path / "results.jsonl")[0].note == "first second\\x1b[2J"


def test_what_is_measured_anew_takes_the_place_of_what_was(tmp_path):
    for value in (1.0, 2.0, 3.0):
        append(tmp_path / "results.jsonl", [replace(BLUR, value=value), UNTAKEN])
    assert read(tmp_path / "results.jsonl") == [replace(BLUR, value=3.0), UNTAKEN]


def test_every_flipped_bit_of_a_line_is_noticed(tmp_path):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR])
    content = file.read_bytes()
    for position in range(len(content) - 1):  # the last byte is the line's end
        for bit in (0, 3, 6):
            file.write_bytes(content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :])
            with pytest.raises(UserError):
                read(file)


CUT = ', "digest"'


def test_lines_of_earlier_versions_have_no_digest_and_are_counted(tmp_path):
    file = tmp_path / "results.jsonl"
    append(file, [BLUR, UNTAKEN])
    first, second = file.read_text().splitlines()
    file.write_text(f"{first[: first.index(CUT)]}}}\n{second}\n")
    assert read(file) == [BLUR, UNTAKEN]
    assert count_without_digest(file) == 1


def test_the_latest_of_each_key_counts():
    newer = replace(BLUR, value=2.0, provenance=replace(PROVENANCE, created="2026-01-01T00:00:00+00:00"))
    assert latest([BLUR, UNTAKEN, newer]) == [newer, UNTAKEN]
    assert latest([]) == []


@pytest.mark.parametrize("name", ["recipe", "dataset", "split", "metric"])
def test_results_of_different_things_have_different_keys(name):
    assert replace(BLUR, **{name: "other"}).key != BLUR.key
    assert latest([BLUR, replace(BLUR, **{name: "other"})]) == [BLUR, replace(BLUR, **{name: "other"})]


@pytest.mark.parametrize("change", [{"seed": 1}, {"seed": None}, {"stratum": "all"}, {"protocol": "samples"}])
def test_seed_stratum_and_protocol_are_part_of_the_key(change):
    assert replace(BLUR, **change).key != BLUR.key


def test_the_value_is_no_part_of_the_key():
    assert replace(BLUR, value=None, n=3, note="x").key == BLUR.key


ALL = replace(BLUR, stratum="all", value=2.5, n=400)
ONES = replace(BLUR, stratum="label=1", value=None, std_error=None, n=0, note="no image")
TOGETHER = [ALL, BLUR, ONES, UNTAKEN]


@pytest.fixture
def together(tmp_path):
    write_together(tmp_path / "results.jsonl", TOGETHER)
    return tmp_path / "results.jsonl"


def test_strata_of_a_measurement_share_a_line(together):
    assert len(together.read_text().splitlines()) == 2
    assert (read(together), count_without_digest(together)) == (TOGETHER, 0)
    write_together(together, [UNTAKEN])
    assert read(together) == [UNTAKEN]


def test_what_is_measured_anew_counts_beside_a_shared_line_and_in_its_place(together):
    anew = [replace(line, value=7.0) for line in (ALL, BLUR, ONES)]
    append(together, anew[:2])
    assert latest(read(together)) == [*anew[:2], ONES, UNTAKEN]
    append(together, anew)
    assert read(together) == [UNTAKEN, *anew]


@pytest.mark.parametrize(("old", "new"), [("0.30000000000000004", "0.31"), ('"n": 360', '"n": 361'), ("!=1", "!=2")])
def test_a_changed_stratum_of_a_shared_line_is_noticed(together, old, new):
    together.write_text(together.read_text().replace(old, new))
    with pytest.raises(UserError, match="line 1 is damaged"):
        read(together)


@pytest.mark.parametrize("own", ['{"n": "many"}', "7", '{"beauty": 1}', '{"strata": {}}'])
def test_a_malformed_stratum_of_a_shared_line_is_named(together, own):
    text = together.read_text().splitlines()[0]
    unsigned = text[: text.index(', "digest"')].replace('"label=1": {', f'"x": {own}, "label=1": {{') + "}"
    together.write_text(unsigned + "\n")
    with pytest.raises(UserError, match=r"results\.jsonl line 1"):
        read(together)
