"""Run as a script: trials of `walking` on Ray, told in JSON lines. A process of its own keeps Ray out of the test's.

python many_walks.py OUT '{"seeds": 4, "settings": {...}, "nodes": 3, "lose_a_node_after": 6, "retries": 2, ...}'
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from clusterbench.bench.cli.plan import Asked, plan
from clusterbench.bench.scheduling.events import Listener, Planned
from clusterbench.bench.scheduling.placement import Placement, set_environment
from clusterbench.bench.trial_folder import find_folder, finished_record
from clusterbench.results.record import Record


class Teller(Listener):
    """Prints every event, and loses a node when it is time: in the middle of a trial there, after `lose_after` have ended."""

    def __init__(self, cluster: Any, lose_after: int | None) -> None:
        self.cluster, self.lose_after, self.finished = cluster, lose_after, 0
        self.began, self.nodes = time.monotonic(), {}

    def tell(self, event: str, key: str = "", **more: Any) -> None:
        print(json.dumps({"event": event, "key": key, "at": round(time.monotonic() - self.began, 3), **more}), flush=True)

    def on_plan(self, trials: Sequence[Planned]) -> None:
        self.tell("plan", count=len(trials), done=sum(trial.done is not None for trial in trials))

    def on_start(self, key: str, where: str, attempt: int) -> None:
        self.nodes[key] = where.split()[0].rpartition("/")[2]
        self.tell("start", key, where=where, attempt=attempt)

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        self.tell("epoch", key, epoch=row["epoch"])
        if self.lose_after is not None and self.finished >= self.lose_after and row["epoch"] == 1:
            self.lose_the_node_of(key)

    def lose_the_node_of(self, key: str) -> None:
        here = [node for node in self.cluster.worker_nodes if node.node_id.startswith(self.nodes[key])]
        if here:
            self.lose_after = None
            self.tell("lost a node", key)
            self.cluster.remove_node(here[0], allow_graceful=False)

    def on_finish(self, key: str, record: Record) -> None:
        self.finished += 1
        self.tell("finish", key, pid=os.getpid(), resumed=record.cost["resumed"])

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        self.tell("retry", key, reason=reason, left=attempts_left)

    def on_fail(self, key: str, reason: str, log: Path | None) -> None:
        self.tell("fail", key, reason=reason, log=str(log))

    def on_note(self, text: str) -> None:
        self.tell("note", text=text)


def main() -> None:
    importlib.import_module("walking")  # registers the method in this process, as `imports` does in the workers
    out, asked = Path(sys.argv[1]), json.loads(sys.argv[2])
    nodes = asked.get("nodes", 0)
    cluster, address = None, asked.get("address", "local")
    set_environment("cluster" if nodes else address)
    if nodes:
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        for _ in range(nodes - 1):
            cluster.add_node(num_cpus=1)
        address = cluster.address
    settings = [f"{name}={json.dumps(value)}" for name, value in asked.get("settings", {}).items()]
    trials = plan(Asked(methods=["walking"], datasets=["digits"], seeds=range(asked.get("seeds", 4)), settings=settings))
    planned = [Planned(t.spec.identity(), t.spec, finished_record(find_folder(t.spec, out))) for t in trials]
    teller = Teller(cluster, asked.get("lose_a_node_after"))

    from clusterbench.bench.scheduling.driver import Job, run_many

    job = Job(out, retries=asked.get("retries", 2), imports=("walking",))
    placement = Placement(address, max_concurrent=asked.get("max_concurrent"))
    records = run_many(planned, job, placement, teller)
    teller.tell("end", records=len(records), seconds_each=asked.get("seeds", 4))
    if cluster is not None:
        cluster.shutdown()


if __name__ == "__main__":
    main()
