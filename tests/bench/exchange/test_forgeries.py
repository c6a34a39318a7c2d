"""Changed and forged bundles are refused with the reason, and nothing of them is taken."""

from __future__ import annotations

import io
import json
import re
import tarfile
from pathlib import Path
from typing import Any

import forger
import numpy as np
import pytest
from cli_tools import Bench
from forger import Files

from clusterbench.bench.exchange import evidence
from clusterbench.bench.exchange.manifest import read_manifest
from clusterbench.bench.spec import TrialSpec
from clusterbench.results.record import RecordError


def refused(bench: Bench, bundle: Path, *reasons: str) -> None:
    """It is, for these reasons, in one line, and nothing of it is in the output folder."""
    ran = bench("import", str(bundle), "--mlflow", "off", "-q")
    assert ran.code == 1 and len(ran.err.splitlines()) == 1, ran.err
    for reason in reasons:
        assert reason in ran.said
    assert [path for path in bench.out.rglob("*") if path.is_file()] == []


def boast(record: dict[str, Any]) -> None:
    for metrics in record["metrics"].values():
        metrics["acc"] = 0.99


def test_the_manifest_is_what_anybody_can_work_out(bundle: Path) -> None:
    files = forger.opened(bundle)
    assert json.loads(files["manifest.json"]) == json.loads(forger.sealed(files)["manifest.json"])


def test_a_changed_file_is_found_by_its_checksum(bench: Bench, bundle: Path) -> None:
    files = forger.opened(bundle)
    path = forger.first(files, "epochs.jsonl")
    files[path] = files[path].replace(b"0", b"1", 1)
    refused(
        bench, forger.written(files, bundle), "nothing of it was taken", f"{path!r} is not the file that was packed (SHA-256 "
    )


def test_a_missing_and_an_added_file_are_found(bench: Bench, bundle: Path) -> None:
    files = forger.opened(bundle)
    del files[forger.first(files, "labels.npz")]
    files["kmeans/model.safetensors"] = b"weights"
    reasons = ("it holds 'kmeans/model.safetensors', which its manifest does not list", "/labels.npz', which it lacks")
    refused(bench, forger.written(files, bundle), *reasons)


def test_a_changed_manifest_is_found_by_its_seal(bench: Bench, bundle: Path) -> None:
    files = forger.opened(bundle)
    files["manifest.json"] = files["manifest.json"].replace(b"oxford", b"harvard")
    refused(bench, forger.written(files, bundle), "manifest.json was changed after it was packed")


@pytest.mark.parametrize("content", [b"{", b"[]", b'{"format": 1}', b"[" * 200_000, b"\xff"])
def test_a_manifest_that_is_none_is_refused(bench: Bench, bundle: Path, content: bytes) -> None:
    files = forger.opened(bundle) | {"manifest.json": content}
    refused(bench, forger.written(files, bundle), "its manifest.json is damaged")


def test_a_bundle_of_a_newer_form_asks_for_an_upgrade(bench: Bench, bundle: Path) -> None:
    files = forger.opened(bundle)
    newer = json.dumps({**json.loads(files["manifest.json"]), "format": 2, "signature": "..."}).encode()
    refused(bench, forger.written(files | {"manifest.json": newer}, bundle), "has form 2", "Upgrade clusterbench")


@pytest.mark.parametrize("lab", ["", "../oxford", "a b", "x" * 41, "<b>", "a/b", "oxford."])
def test_a_laboratory_with_an_impossible_name_is_refused(bench: Bench, bundle: Path, lab: str) -> None:
    files = forger.sealed(forger.opened(bundle), lab=lab)
    refused(bench, forger.written(files, bundle), "cannot name a laboratory")


def test_metrics_must_follow_from_the_stored_labels(bench: Bench, bundle: Path) -> None:
    def change(files: Files) -> None:
        forger.edit_record(files, boast)
        forger.edit_epochs(files, lambda row: row.update(acc=[0.99] * len(row["acc"])))

    honest = forger.record(forger.opened(bundle))["metrics"]["last"]["acc"]
    reason = f"its metrics do not follow from its labels: last acc is 0.99, its labels make {honest}"
    refused(bench, forger.forged(bundle, change), reason)


@pytest.mark.parametrize("path", [("nmi",), ("clusters_used",), ("heads", "acc_mean")])
def test_no_metric_can_be_changed_alone(bench: Bench, bundle: Path, path: tuple[str, ...]) -> None:
    def change(record: dict[str, Any]) -> None:
        within = record["metrics"]["own-loss"]
        for name in path[:-1]:
            within = within[name]
        within[path[-1]] *= 0.99

    forgery = forger.forged(bundle, lambda files: forger.edit_record(files, change))
    refused(bench, forgery, f"own-loss {'.'.join(path)} is ")


def test_without_labels_metrics_must_be_those_of_the_epoch_that_was_chosen(bench: Bench, bundle: Path) -> None:
    def change(files: Files) -> None:
        forger.edit_record(files, boast)
        del files[forger.first(files, "labels.npz")]

    honest = forger.record(forger.opened(bundle))["metrics"]["last"]["acc"]
    refused(bench, forger.forged(bundle, change), f"its last acc is 0.99, epoch 1 of its epochs.jsonl has {honest}")


def test_true_labels_must_be_those_of_our_own_records_on_the_same_data(bench: Bench, bundle: Path) -> None:
    """Whoever calls every cluster a class has an accuracy of 1 that follows from the labels."""

    def change(files: Files) -> None:
        forger.edit_labels(files, lambda arrays: arrays.update(truth=arrays["last"][0]))
        perfect = {"acc": 1.0, "nmi": 1.0, "ari": 1.0, "ami": 1.0, "purity": 1.0, "many_to_one_acc": 1.0}
        forger.edit_epochs(files, lambda row: row.update({name: [1.0] for name in ("acc", "nmi", "ari")}))

        def perfectly(record: dict[str, Any]) -> None:
            for metrics in record["metrics"].values():
                metrics.update(perfect)
                metrics["heads"] |= {"acc_mean": 1.0, "nmi_mean": 1.0, "ari_mean": 1.0, "acc": [1.0]}

        forger.edit_record(files, perfectly)
        for path in [path for path in files if "-s1-" in path]:  # the honest record would give it away
            del files[path]

    forgery = forger.forged(bundle, change)
    assert bench("run", "--method", "random", "--dataset", "digits", "--preset", "smoke", "--mlflow", "off", "-q").code == 0
    ran = bench("import", str(forgery), "--mlflow", "off", "-q")
    assert ran.code == 1 and re.search(
        r"its true labels are not those that random-digits-smoke-s0-\w+ has on the same data", ran.said
    )
    assert not list(bench.out.glob("*@*"))


def test_the_records_of_one_bundle_must_agree_on_the_true_labels(bench: Bench, bundle: Path) -> None:
    def change(files: Files) -> None:
        forger.edit_labels(files, lambda arrays: arrays.update(truth=np.roll(arrays["truth"], 1)))

    refused(bench, forger.forged(bundle, change), "its true labels are not those that kmeans-digits-smoke-s0-")


def test_an_id_must_be_the_hash_of_its_spec(bench: Bench, bundle: Path) -> None:
    forgery = forger.forged(bundle, lambda files: forger.edit_record(files, lambda record: record["spec"].update(seed=7)))
    refused(bench, forgery, "is not the hash of its spec")


def test_settings_must_be_those_of_the_spec(bench: Bench, bundle: Path) -> None:
    def rename(record: dict[str, Any]) -> None:
        record["spec"]["seed"] = 7
        record["id"] = TrialSpec.model_validate(record["spec"]).identity()

    forgery = forger.forged(bundle, lambda files: forger.edit_record(files, rename))
    refused(bench, forgery, "its config.yaml has other settings than its spec")


@pytest.mark.parametrize(("change", "reason"), [
    ({"status": "running"}, "it is not finished"),
    ({"selection_gap": 0.5}, "its selection gap is 0.5, its metrics make"),
    ({"mapping": {"on": [], "kind": "many-to-one"}}, "it maps clusters to classes by 'many-to-one', its labels by 'hungarian'"),
    ({"metrics_version": 99}, "its metrics have version 99"),
    ({"metrics": {"last": {"acc": 1.5, "epoch": 1, "head": 0}}}, "its last acc is 1.5, which no acc can be"),
    ({"metrics": {"last": {"acc": "high", "epoch": 1, "head": 0}}}, "it cannot be checked"),
    ({"spec": {}}, "its spec is no trial's"),
    ({"schema": 99}, "Upgrade clusterbench to read it"),
])  # fmt: skip
def test_a_record_that_contradicts_itself_is_refused(bench: Bench, bundle: Path, change: dict[str, Any], reason: str) -> None:
    forgery = forger.forged(bundle, lambda files: forger.edit_record(files, lambda record: record.update(change)))
    refused(bench, forgery, reason)


@pytest.mark.parametrize(("file", "content"), [
    ("record.json", b"{"), ("record.json", b"[" * 200_000), ("labels.npz", b"PK\x03\x04"), ("labels.npz", b""),
    ("epochs.jsonl", b"{\n{}\n"), ("config.yaml", b"- [\n"),
])  # fmt: skip
def test_a_file_that_cannot_be_read_is_refused(bench: Bench, bundle: Path, file: str, content: bytes) -> None:
    refused(
        bench, forger.forged(bundle, lambda files: files.update({forger.first(files, file): content})), "nothing of it was taken"
    )


def test_labels_that_would_run_code_are_not_opened(bench: Bench, bundle: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return pytest.fail, ("it ran",)

    def change(files: Files) -> None:
        packed = io.BytesIO()
        np.savez(packed, truth=np.array([Evil()], dtype=object))
        files[forger.first(files, "labels.npz")] = packed.getvalue()

    refused(bench, forger.forged(bundle, change), "labels.npz is damaged")


def test_labels_that_swell_are_refused_before_they_are_unpacked(
    bench: Bench, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "MOST_LABEL_BYTES", 1_000_000)
    change = {"last": np.zeros((1, 2_000_000), np.int8)}
    forgery = forger.forged(bundle, lambda files: forger.edit_labels(files, lambda arrays: arrays.update(change)))
    refused(bench, forgery, "its labels.npz unpacks to 2,0")


@pytest.mark.parametrize("name", [
    "x/checkpoint/latest.pt", "x/origin.json", "record.json", "sweeps/record.json", "sweeps/.hidden/x/record.json",
    ".x/record.json", "sweeps/a@b/x/record.json", "a/b/record.json", "mlflow.db", "x/.record.json.1.tmp",
])  # fmt: skip
def test_only_files_of_records_in_their_places_are_taken(bench: Bench, bundle: Path, name: str) -> None:
    refused(bench, forger.forged(bundle, lambda files: files.update({name: b"{}"})), f"{name!r} is no file of a record")


@pytest.mark.parametrize("name", ["../outside/record.json", "/outside/record.json", "a/../../record.json", "C:\\record.json"])
def test_paths_that_lead_outside_are_refused(bench: Bench, bundle: Path, name: str) -> None:
    refused(bench, forger.forged(bundle, lambda files: files.update({name: b"{}"})), "not safe to open")
    assert not (bundle.parent / "outside").exists()


def test_links_are_refused(bench: Bench, bundle: Path) -> None:
    link = tarfile.TarInfo("kmeans/labels.npz")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    refused(bench, forger.written(forger.opened(bundle), bundle, link), "is a link")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_bundle_that_was_cut_short_is_refused(bench: Bench, bundle: Path, share: float) -> None:
    whole = bundle.read_bytes()
    bundle.write_bytes(whole[: int(share * len(whole))])
    refused(bench, bundle, "cut short")


def test_one_trial_cannot_come_twice_in_one_bundle(bench: Bench, bundle: Path) -> None:
    def double(files: Files) -> None:
        folder = forger.first(files, "record.json").partition("/")[0]
        files |= {path.replace(folder, "another"): content for path, content in files.items() if path.startswith(folder)}

    refused(bench, forger.forged(bundle, double), "are records of one trial")


def test_a_bundle_without_its_manifest_is_no_bundle(bench: Bench, bundle: Path) -> None:
    files = forger.opened(bundle)
    del files["manifest.json"]
    refused(bench, forger.written(files, bundle), "has no manifest, so nothing in it can be checked", "--unverified")


def test_many_reasons_are_counted(bench: Bench, bundle: Path) -> None:
    files = {name: content if name == "manifest.json" else content + b" " for name, content in forger.opened(bundle).items()}
    refused(bench, forger.written(files, bundle), f"; and {len(files) - 1 - 3} more. Ask the laboratory for a sound one.")


def test_a_folder_without_a_manifest_has_none(tmp_path: Path) -> None:
    assert read_manifest(tmp_path, "x.tar.gz") is None
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(RecordError, match="x.tar.gz is refused"):
        read_manifest(tmp_path, "x.tar.gz")
