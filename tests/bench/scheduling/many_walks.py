"""Run as a script: trials of `walking` on Ray, told in JSON lines. A process of its own keeps Ray out of the test's.

python many_walks.py OUT '{"seeds": 4, "settings": {...}, "nodes": 3, "lose_a_node_at": 6, "retries": 2, ...}'
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

EVENTS = os.fdopen(os.dup(1), "w")  # Ray writes of its processes to standard output, in the middle of our lines too
os.dup2(2, 1)


class Teller(Listener):
    """Prints every event, and loses a node in the middle of the first trial there with a seed of `lose_at` or more.

    Such trials wait in their middle for the file `lost`. It is made once the loss is known: workers outlive their node a moment.
    """

    def __init__(self, cluster: Any, lose_at: int | None, lost: str = "") -> None:
        self.cluster, self.lose_at, self.lost = cluster, lose_at, Path(lost)
        self.began, self.nodes, self.seeds = time.monotonic(), {}, {}

    def tell(self, event: str, key: str = "", **more: Any) -> None:
        line = json.dumps({"event": event, "key": key, "at": round(time.monotonic() - self.began, 3), **more})
        print(line, file=EVENTS, flush=True)

    def on_plan(self, trials: Sequence[Planned]) -> None:
        self.seeds = {trial.key: trial.spec.seed for trial in trials}
        self.tell("plan", count=len(trials), done=sum(trial.done is not None for trial in trials))

    def on_start(self, key: str, where: str, attempt: int) -> None:
        self.nodes[key] = where.split()[0].rpartition("/")[2]
        self.tell("start", key, where=where, attempt=attempt)

    def on_epoch(self, key: str, row: Mapping[str, Any]) -> None:
        self.tell("epoch", key, epoch=row["epoch"])
        if self.lose_at is not None and self.seeds[key] >= self.lose_at:
            self.lose_the_node_of(key)

    def lose_the_node_of(self, key: str) -> None:
        here = [node for node in self.cluster.worker_nodes if node.node_id.startswith(self.nodes[key])]
        if here:
            self.lose_at = None
            self.tell("lost a node", key)
            self.cluster.remove_node(here[0], allow_graceful=False)

    def on_finish(self, key: str, record: Record) -> None:
        self.tell("finish", key, pid=os.getpid(), resumed=record.cost["resumed"])

    def on_retry(self, key: str, reason: str, attempts_left: int) -> None:
        if self.lost.name:
            self.lost.touch()
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
    teller = Teller(cluster, asked.get("lose_a_node_at"), asked.get("settings", {}).get("held_until", ""))

    from clusterbench.bench.scheduling.driver import Job, run_many

    job = Job(out, retries=asked.get("retries", 2), imports=("walking",))
    placement = Placement(address, max_concurrent=asked.get("max_concurrent"))
    records = run_many(planned, job, placement, teller)
    teller.tell("end", records=len(records), seconds_each=asked.get("seeds", 4))
    if cluster is not None:
        cluster.shutdown()


if __name__ == "__main__":
    main()
