"""``--threads`` bounds the processors of an evaluation and of every study."""

import json
import subprocess
import sys

import pytest

from vaebench.cli.studies import studies
from vaebench.core import processes
from vaebench.core.results import read
from vaebench.runs.record import RunFolder

COMMANDS = ["evaluate", *(command.callback.__name__ for command in studies.registered_commands)]
POOLS = """
import contextlib, json, sys
import vaebench.cli.main
with contextlib.suppress(SystemExit):
    vaebench.cli.main.main(["evaluate", "no-such-run", "--threads", sys.argv[1]])
import cv2, scipy.linalg, sklearn.cluster, threadpoolctl, torch
pools = {pool["prefix"]: pool["num_threads"] for pool in threadpoolctl.threadpool_info()}
print(json.dumps({**pools, "torch": torch.get_num_threads(), "opencv": cv2.getNumThreads()}))
"""


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    """What a command tells libraries that are loaded later does not outlive its test."""
    for name in processes._THREADS:
        monkeypatch.setenv(name, "1")


@pytest.mark.parametrize("command", COMMANDS)
def test_no_number_of_threads_is_refused_in_one_line(cli, command):
    answer = cli([command, "vae-digits", "--threads", "0"])
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: threads=0 is no number of threads: give 1 or more\n"


@pytest.mark.parametrize(("given", "said"), [("-1", "no number"), ("999999", "too many: give"), ("two", "--threads")])
def test_odd_numbers_of_threads_are_refused(cli, given, said):
    answer = cli(["evaluate", "vae-digits", f"--threads={given}"])
    assert answer.code == 2
    assert said in answer.err and len(answer.err.splitlines()) == 1


@pytest.mark.parametrize("threads", [1, 3])
def test_libraries_that_are_loaded_later_are_bounded_too(threads):
    answer = subprocess.run([sys.executable, "-c", POOLS, str(threads)], capture_output=True, text=True, check=True)
    pools = json.loads(answer.stdout.splitlines()[-1])
    assert {"torch", "opencv", "libgomp"} <= set(pools)
    assert any("blas" in name for name in pools)
    blas = {
        name: count for name, count in pools.items() if "blas" in name
    }  # OpenBLAS takes no more than there are cores
    assert set(blas.values()) <= {threads, min(threads, processes.cores())}
    assert {count for name, count in pools.items() if name not in blas} == {threads}


def test_values_do_not_depend_on_threads(cli, places):
    assert cli(["train", "vae-digits", "--steps", "2", "--precision", "fp32", "--threads", "1"]).code == 0
    evaluate = ["evaluate", "vae-digits", "--samples", "300", "--metrics", "mse,ssim,fcd,nll,svm_accuracy", "--again"]
    values = []
    for threads in (1, 2):
        assert cli([*evaluate, "--threads", str(threads), "--out", places / "out"]).code == 0
        lines = read(RunFolder(places / "runs" / "vae-digits" / "seed-0").results)
        values.append({(line.metric, line.protocol, line.stratum): line.value for line in lines})
    assert values[0].keys() == values[1].keys()
    for key, value in values[0].items():
        assert value == pytest.approx(values[1][key], rel=1e-6), key
