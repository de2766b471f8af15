"""Many runs and many workers: shares and claims. No run is trained twice, none is left out."""

import json

import pytest

from vaebench.core.files import exclusive
from vaebench.core.paths import runs_dir
from vaebench.runs.record import RunFolder

pytestmark = pytest.mark.usefixtures("defaults_known")

SHORT = ["--precision", "fp32", "--threads", "1", "--steps", "2"]
RECIPES = ["vae-digits", "dfcvae-digits", "dcgan-digits"]


def trained():
    return {f"{path.parent.parent.name}/{path.parent.name}" for path in runs_dir().glob("*/*/weights.safetensors")}


def test_shares_are_disjoint_and_together_all(cli):
    seen = []
    for share in ("1/2", "2/2"):
        before = trained()
        assert cli(["train", *RECIPES[:2], "--seeds", "0,1", "--shard", share, *SHORT]).code == 0
        seen.append(trained() - before)
    assert [len(share) for share in seen] == [2, 2]
    assert seen[0] | seen[1] == {f"{name}/seed-{seed}" for name in RECIPES[:2] for seed in (0, 1)}


def test_a_share_with_nothing_in_it_is_no_error(cli):
    answer = cli(["train", "vae-digits", "--shard", "2/3", *SHORT])
    assert (answer.code, trained()) == (0, set())


@pytest.mark.parametrize("share", ["0/2", "3/2", "1", "a/b", "1/0", "-1/2"])
def test_shares_that_cannot_be(cli, share):
    answer = cli(["train", "vae-digits", f"--shard={share}", *SHORT])
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "write I/N with I from 1 to N" in answer.err


def test_what_another_worker_trains_is_passed_over_and_the_rest_is_done(cli):
    busy = runs_dir() / "vae-digits" / "seed-0"
    busy.mkdir(parents=True)
    with exclusive(busy, wait=False):
        answer = cli(["train", *RECIPES[:2], *SHORT])
        assert answer.code == 0
        assert "vae-digits/seed-0: another process is at work in" in answer.out and "passed over" in answer.out
        assert trained() == {"dfcvae-digits/seed-0"}
        alone = cli(["train", "vae-digits", *SHORT])
        assert (alone.code, "wait for it, or stop it" in alone.err) == (2, True)
    assert cli(["train", *RECIPES[:2], *SHORT]).code == 0  # every job is idempotent
    assert trained() == {"vae-digits/seed-0", "dfcvae-digits/seed-0"}


def record_of(name):
    return runs_dir() / name / "seed-0" / "run.json"


def test_a_run_that_goes_on_elsewhere_says_so(cli):
    """As what went on after it was begun on another machine by two processes, in a version without fused."""
    assert cli(["train", "vae-digits", *SHORT]).code == 0
    record = json.loads(record_of("vae-digits").read_text())
    assert record["compute"]["fused"] and "earlier" not in record["compute"]
    begun = {**record["compute"], "machine": "a faster one", "processes": 2}
    del begun["fused"]
    record_of("vae-digits").write_text(json.dumps({**record, "status": "training", "compute": begun}))
    assert cli(["train", "vae-digits", "--resume"]).code == 0
    after = json.loads(record_of("vae-digits").read_text())
    (earlier,) = after["compute"]["earlier"]
    assert earlier | {"resumed": ""} == {"device": "cpu", "machine": "a faster one", "processes": 2, "resumed": ""}
    assert after["resumed"] == [earlier["resumed"]]
    assert after["compute"] == {**record["compute"], "fused": False, "earlier": after["compute"]["earlier"]}
    assert RunFolder(record_of("vae-digits").parent).read_record().training_facts().setting.endswith("begun elsewhere")


def test_a_run_that_a_faulty_version_resumed_is_named_when_it_is_measured(cli, tmp_path):
    """Its moments were laid on other weights; that shows only where the record tells of a resume."""
    assert cli(["train", "vae-digits", *SHORT]).code == 0
    measure = ["evaluate", "vae-digits", "--metrics", "blur", "--samples", "16", "--again", "--out", tmp_path / "out"]
    assert "resumed" not in cli(measure).out
    record = json.loads(record_of("vae-digits").read_text())
    elsewhere = {"device": "cpu", "machine": "a faster one", "processes": 1}
    for changes, said in (
        ({"channels_last": True, "fused": True, "earlier": [elsewhere]}, True),
        ({"channels_last": False, "fused": True, "earlier": [elsewhere]}, False),
        ({"channels_last": True, "fused": False, "earlier": [elsewhere]}, False),
        ({"channels_last": True, "fused": True, "earlier": [elsewhere | {"resumed": "2026-11-26T10:00:00"}]}, False),
    ):
        record_of("vae-digits").write_text(json.dumps(record | {"compute": record["compute"] | changes}))
        answer = cli(measure)
        assert (answer.code, "an older, faulty version of vaebench resumed this training" in answer.out) == (0, said), (
            answer
        )
