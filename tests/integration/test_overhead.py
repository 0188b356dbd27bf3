"""A benchmark, run at its smallest as somebody would run it, and what it writes."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_overhead_before_a_mock_is_measured_and_written(tmp_path: Path) -> None:
    options = ["--clients", "1,2", "--rounds", "2", "--requests", "20", "--out", str(tmp_path / "overhead")]
    # Other gateways take half a minute to start.
    alone = ["--litellm", "not-installed", "--nemo", "not-installed"]
    done = subprocess.run(
        [sys.executable, "benchmarks/overhead.py", *options, *alone],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    report = json.loads((tmp_path / "overhead.json").read_text())
    assert report["command"].startswith("python benchmarks/overhead.py --clients 1,2 --rounds 2 --requests 20")
    assert (report["rounds"], report["requests"]) == (2, 20)
    assert "vllm" not in report
    rows = {(row["target"], row["clients"]): row for row in report["mock"]}
    ways = ("mock, direct", "mock, gateway")
    assert set(rows) == {(way, clients) for way in ways for clients in (1, 2)}
    for (way, _), row in rows.items():
        assert 0 < row["p50_ms"] <= row["p99_ms"]
        assert row["per_second"] > 0
        assert row["added_p50_low"] <= row["added_p50_ms"] <= row["added_p50_high"]
        assert row["throughput_low"] <= row["throughput_ratio"] <= row["throughput_high"]
        if way == "mock, direct":  # against itself
            assert (row["added_p50_ms"], row["throughput_ratio"]) == (0.0, 1.0)
        else:
            assert row["added_p50_ms"] != 0.0
        assert f"{way:24} {row['clients']:3} clients" in done.stdout
    assert (tmp_path / "overhead.png").read_bytes().startswith(b"\x89PNG")
