"""Table 1 as a suite at the smallest budget: every row of it runs, on real digits, and is recorded."""

from __future__ import annotations

from cli_tools import Bench

from clusterbench.results.record import find_records

ROWS = {
    "random", "kmeans", "spectral", "triplets", "ae", "sparse-ae", "denoising-ae", "vae", "swwae", "gan", "jule", "dec", "dac",
    "deepcluster", "adc", "iic", "scan", "imc-swav",
}  # fmt: skip


def test_all_rows_of_table_1_run_on_digits(bench: Bench) -> None:
    budget = ("--dataset", "digits", "--preset", "smoke", "--seeds", "1")
    where = ("--cache-root", "cache", "--mlflow", "off", "--address", "none", "--quiet")
    done = bench("suite", "run", "table1", *budget, *where)
    assert done.code == 0, done.err
    records = find_records(bench.out)
    assert {record.spec["method"] for record in records} == ROWS and len(records) == len(ROWS)
    assert all(record.is_complete and 0.1 < record.metrics["last"]["acc"] <= 1 for record in records)
    assert all(name in done.out for name in ROWS)
