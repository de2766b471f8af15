"""The list of claims that ``leaderboard.md`` opens with: whole, narrow, and no text of a claim is markup."""

from dataclasses import replace

import pytest
from handmade_page import part_of, toy
from judged_claims import judged_claim

from vaebench.report import claim_wording
from vaebench.report.analysis.claims import VERDICTS
from vaebench.report.analysis.formatting import without_markup
from vaebench.report.markdown import WIDTH, page


def listed(held, folder):
    text = without_markup(page(part_of(toy(), folder, held=held)))
    head, found, rest = text.partition("## Claims\n")
    assert found and head.count("\n") <= 4 and "\n## Leaderboard\n" in rest
    return rest.partition("\n## Leaderboard\n")[0]


def test_each_claim_has_its_verdict_numbers_source_and_meaning(tmp_path):
    said = listed([judged_claim(verdict, says=f"number {n}") for n, verdict in enumerate(VERDICTS)], tmp_path)
    for n, verdict in enumerate(VERDICTS):
        assert f"{n + 1}. **{claim_wording.MARKS[verdict]} {verdict}:** number {n}\n" in said
    assert len({*claim_wording.MARKS.values()}) == len(VERDICTS)
    assert said.count("   - Source: Doe 2020, table 1: t = 9\n") == 4
    assert said.count("   - Claim: `mse: vae < gan`\n") == 4
    numbers = "vae 5.000, gan 5.500; difference -0.5000 [-0.6000, -0.4000], nested-t, p (Holm) 0.001, 3 seeds"
    assert " ".join(said.split()).count(f"- Here: mse (recon): {numbers}") == 4


def test_lines_are_narrow_and_nothing_in_them_begins_an_item(tmp_path):
    words = ["-", "8.", "+", "#", ">", "*", "12)", "8."] * 40
    claims = [judged_claim(says=" ".join(words), published=" ".join(words), note=" ".join(words)) for _ in range(11)]
    lines = listed(claims, tmp_path).splitlines()
    assert max(map(len, lines)) <= WIDTH
    items = [line for line in lines if line.lstrip().startswith(("- ", "* ", "+ ", "# ", "> "))]
    assert len(items) == 3 * 11
    numbers = [line.split()[0] for line in lines if line.lstrip()[:1].isdigit()]
    plain = [number for number in numbers if number.endswith(".") and "\\" not in number]
    assert plain == [f"{n}." for n in range(1, 12)]


def test_text_of_a_claim_is_no_markup(tmp_path):
    said = listed([judged_claim(says="<script>alert(1)</script> ![x](http://x)", note="<b>bold</b>")], tmp_path)
    assert "<script" not in said and "<b>" not in said and "](http" not in said


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (["holds"], "1 claim: 1 holds."),
        (["holds", "holds"], "2 claims: 2 hold."),
        (["does not hold"] * 2 + ["undecided"], "3 claims: 2 do not hold, 1 undecided."),
    ],
)
def test_verdicts_are_counted(verdicts, said):
    assert claim_wording.summary([judged_claim(verdict) for verdict in verdicts]) == said


def test_what_would_decide_is_said():
    pair = replace(judged_claim("undecided"), seeds_needed=8)
    assert claim_wording.found(pair).endswith("3 seeds; 8 seeds each would decide it 4 times in 5")
    number = replace(judged_claim("undecided", "mse: vae < 3"), seeds_needed=8, p_holm=None)
    assert "8 seeds would decide it" in claim_wording.found(number) and "p (Holm)" not in claim_wording.found(number)


def test_what_was_not_measured_has_its_reason_alone():
    bare = replace(judged_claim("not measured", note="needs an encoder"), values={}, difference=None)
    bare = replace(bare, test="", p_holm=None)
    assert claim_wording.found(replace(bare, seeds=0)) == "needs an encoder"
    assert claim_wording.values(bare) == ""


def test_a_claim_that_no_source_prints_has_no_line_for_it(tmp_path):
    assert "Source:" not in listed([judged_claim(source="", where="", published="")], tmp_path)
