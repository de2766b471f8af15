"""Results in others' formats: what is read back by their own readers is the leaderboard, and nothing else.

``fixtures/every_eval_ever.schema.json`` is ``every_eval_ever/schemas/eval.schema.json`` of the wheel every_eval_ever
0.3.0 on PyPI (https://github.com/evaleval/every_eval_ever), under the licence beside it (MIT, copyright EvalEval).
"""

import csv
import json
import uuid
from pathlib import Path

import pytest
from handmade import drawn, provenance, result, write_real, write_run

from vaebench.core import results
from vaebench.report import write
from vaebench.report.emission.yaml_text import to_yaml

FIXTURES = Path(__file__).parent / "fixtures"
N = 40
NAMES = ("vae-toy", "gan-toy[latent_dim=3]", "external/theirs")
NASTY = 'a: "quoted" \\ # no comment é 😀 \u2028 \x07'


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    for name in ("draw_all", "draw_curves"):
        monkeypatch.setattr(write, name, lambda measured, folder: {})


@pytest.fixture
def measured_here():
    """Three models, one of them made elsewhere; a value of 1e-7, one without interval, a label, some that are n/a."""
    write_real({"blur": drawn(0, N, 1)}, [i % 3 for i in range(N)])
    for place, name in enumerate(NAMES):
        for seed in [None] if name.startswith("external") else range(3):
            scores = {"blur": drawn(place + 9 * (seed or 0), N, 1 + place), "mse": 1e-7 * (5 + drawn(place, N))}
            folder = write_run(name, seed, scores, name=name if seed is None else None)
            more = [
                result(name, seed, "fid", 3.0 + place + 0.1 * (seed or 0), note=NASTY[:40]),
                result(name, seed, "ssim", None, n=0, note="n/a"),
                result(name, seed, "ssim", 0.5 + 0.1 * place, stratum="label=1"),
                result(name, seed, "own", -1.0),  # without bounds
            ]
            later = provenance(created=f"2026-02-0{1 + place}T00:00:00+00:00")
            results.append(folder.results, [*more, result(name, seed, "kl", 1.0, provenance=later)])


def report(cli, out, *more):
    return cli(["report", "--published", out / "none", "--out", out, *more])


def board(out):
    """Rows with a value of models, as ``leaderboard.csv`` has them."""
    with (out / "toy" / "leaderboard.csv").open(newline="") as handle:
        return [row for row in csv.DictReader(handle) if row["value"] and row["recipe"] in NAMES]


def number(cell):
    return float(cell) if cell else None


def cards(out):
    yaml = pytest.importorskip("yaml")
    found = {}
    for path in (out / "toy" / "model-index").rglob("*.md"):
        before, block, after = path.read_text(encoding="utf-8").split("---\n")
        assert before == after == ""
        found[path.relative_to(out / "toy" / "model-index").with_suffix("").as_posix()] = yaml.safe_load(block)
    return found


def test_a_card_has_every_value_over_all_images(cli, tmp_path, measured_here):
    answer = report(cli, tmp_path, "--emit", "model-index")
    assert answer.code == 0, answer.err
    known = cards(tmp_path)
    assert set(known) == set(NAMES)
    for name, card in known.items():
        (model,) = card["model-index"]
        told = [
            (one["type"], one["config"], one["value"], one["args"].get("std_error"), one["args"].get("ci_low"))
            for each in model["results"]
            for one in each["metrics"]
        ]
        rows = [row for row in board(tmp_path) if row["recipe"] == name and row["stratum"] == "all"]
        assert model["name"] == name and sorted(told, key=str) == sorted(
            (
                (row["metric"], row["protocol"], *(number(row[key]) for key in ("value", "std_error", "ci_low")))
                for row in rows
            ),
            key=str,
        )
        assert {one[0] for one in told} == {"blur", "mse", "fid", "kl", "own"}
    args = {one["type"]: one["args"] for one in known["vae-toy"]["model-index"][0]["results"][0]["metrics"]}
    assert (
        args["blur"].items()
        >= {
            "unit": "units",
            "direction": "target",
            "protocol": "recon",
            "seeds": 3,
            "confidence_level": 0.95,
            "vaebench_version": "0.0",
            "device": "abacus",
            "data_fingerprint": "f" * 64,
        }.items()
    )
    assert args["blur"]["n"] == N and args["blur"]["ci_high"] > args["blur"]["ci_low"]


def test_hugging_face_reads_the_cards(cli, tmp_path, measured_here):
    cards_of = pytest.importorskip("huggingface_hub.repocard")
    assert report(cli, tmp_path, "--emit", "model-index").code == 0
    for name, card in cards(tmp_path).items():
        text = (tmp_path / "toy" / "model-index" / f"{name}.md").read_text(encoding="utf-8")
        read = cards_of.ModelCard(f"{text}\n# A model\n")  # as before a README
        assert read.data.model_name == name
        metrics = card["model-index"][0]["results"][0]["metrics"]
        found = {one.metric_type: one for one in read.data.eval_results}
        assert len(found) == len(metrics)
        for one in metrics:
            there = found[one["type"]]
            assert (there.metric_value, there.metric_config, there.metric_args) == (
                one["value"],
                one["config"],
                one["args"],
            )
            assert (there.dataset_name, there.dataset_split) == ("toy", "test")


def test_every_eval_ever_is_valid_and_has_every_row_it_can_say(cli, tmp_path, measured_here):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((FIXTURES / "every_eval_ever.schema.json").read_text(encoding="utf-8"))
    assert report(cli, tmp_path, "--emit", "every-eval-ever").code == 0
    files = sorted((tmp_path / "toy" / "every-eval-ever").rglob("*.json"))
    rows = [row for row in board(tmp_path) if row["direction"] != "target"]
    told = []
    for path in files:
        content = json.loads(path.read_text(encoding="utf-8"))
        jsonschema.Draft7Validator(schema).validate(content)
        benchmark, developer, model, file = path.relative_to(tmp_path / "toy" / "every-eval-ever").parts
        assert (benchmark, f"{developer}/{model}") == ("toy", content["model_info"]["id"])
        assert uuid.UUID(Path(file).stem).version == 4
        own = content["model_info"]["name"]
        assert content["source_metadata"]["additional_details"] == {
            "left_out": "blur (recon): nearer to the originals is better"
        }
        for one in content["evaluation_results"]:
            config, score = one["metric_config"], one["score_details"]
            unsure = score["uncertainty"]
            told.append(
                {
                    "recipe": own,
                    "metric": config["metric_name"],
                    "protocol": config["metric_parameters"]["protocol"],
                    "unit": config["metric_unit"],
                    "direction": "lower" if config["lower_is_better"] else "higher",
                    "value": score["score"],
                    "std_error": unsure.get("standard_error", {}).get("value"),
                    "ci_low": unsure.get("confidence_interval", {}).get("lower"),
                    "ci_high": unsure.get("confidence_interval", {}).get("upper"),
                    "n": unsure["num_samples"],
                    "lowest": {"-Infinity": None}.get(config["min_score"], config["min_score"]),
                    "highest": {"Infinity": None}.get(config["max_score"], config["max_score"]),
                    "stratum": one["source_data"]["additional_details"]["stratum"],
                    "data_fingerprint": score["details"]["data_fingerprint"],
                    "seeds": score["details"]["seeds"],
                    "device": score["details"]["device"],
                    "vaebench_version": score["details"]["vaebench_version"],
                }
            )
            assert one["evaluation_result_id"].count("/") >= 5
    numbers = ("value", "std_error", "ci_low", "ci_high", "lowest", "highest")
    texts = ("recipe", "metric", "protocol", "unit", "direction", "stratum", "data_fingerprint", "seeds", "device")
    wanted = [
        {name: row[name] for name in (*texts, "vaebench_version")}
        | {name: number(row[name]) for name in numbers}
        | {"n": int(row["n"])}
        for row in rows
    ]
    assert len(files) == 3 and {row["stratum"] for row in rows} == {"all", "label=1"}
    assert sorted(map(str_of, told)) == sorted(map(str_of, wanted))


def str_of(row):
    return json.dumps(row, sort_keys=True)


def test_times_are_the_results_own(cli, tmp_path, measured_here):
    assert report(cli, tmp_path, "--emit", "every-eval-ever").code == 0
    files = (tmp_path / "toy" / "every-eval-ever").rglob("*.json")
    told = {(found := json.loads(path.read_text()))["model_info"]["name"]: found for path in files}
    assert {name: told[name]["evaluation_timestamp"][:10] for name in NAMES} == dict(
        zip(NAMES, ("2026-02-01", "2026-02-02", "2026-02-03"), strict=True)
    )
    assert told["vae-toy"]["retrieved_timestamp"] == "1769904000.0"  # date -u -d 2026-02-01 +%s
    assert told["vae-toy"]["evaluation_id"] == "toy/vaebench/vae-toy/1769904000.0"
    relation = {name: told[name]["source_metadata"]["evaluator_relationship"] for name in NAMES}
    assert relation == dict(zip(NAMES, ("first_party", "first_party", "other"), strict=True))


def test_the_same_results_give_the_same_bytes_and_emission_is_not_forgotten(cli, tmp_path, measured_here):
    both = ["--emit", "model-index,every-eval-ever"]
    trees = []
    for place in ("one", "two"):
        assert report(cli, tmp_path / place).code == 0  # without: what is written later must not seem written
        assert not (tmp_path / place / "toy" / "model-index").exists()
        assert report(cli, tmp_path / place, *both).code == 0
        found = [path for path in (tmp_path / place).rglob("*") if path.is_file()]
        trees.append({path.relative_to(tmp_path / place): path.read_bytes() for path in found})
    assert trees[0] == trees[1] and sum("every-eval-ever" in path.parts for path in trees[0]) == 3


def test_a_format_that_there_is_not_is_refused(cli, tmp_path, measured_here):
    answer = report(cli, tmp_path, "--emit", "model-index,every-eval")
    assert (answer.code, answer.err.count("\n")) == (2, 1)
    assert "no format is named 'every-eval'" in answer.err and "every-eval-ever" in answer.err
    assert not (tmp_path / "toy").exists()


def test_help_shows_them(cli):
    shown = cli(["report", "--help"]).out
    assert "--emit" in shown and "--site" in shown


def test_yaml_is_read_back_as_it_was():
    yaml = pytest.importorskip("yaml")
    plain = {
        "texts": [NASTY, "", "yes", "null", "1e3", "- a", "a\nb", "~", "2026-01-01", "\ud7ff\ufeff"],
        "numbers": [0, -3, 10**20, 1e-7, -2.5e-300, 1e22, 0.1, 3.0, True, False],
        "on": {"y": [[], {}, [[1], [2, [3]]], {"a": {"b": {}}}], "needs quotes: #": 1},
        "empty": [],
    }
    read = yaml.safe_load(to_yaml(plain))
    assert read == plain
    assert [type(one) for one in read["numbers"]] == [type(one) for one in plain["numbers"]]
