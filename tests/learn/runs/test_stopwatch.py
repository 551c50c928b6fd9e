from __future__ import annotations

from petclassify.learn.runs.stopwatch import Stopwatch


def test_what_an_interrupted_run_spent_counts_for_the_stage_and_the_total() -> None:
    watch = Stopwatch()
    with watch.stage("fine-tuning"):
        pass
    before = watch.seconds()
    watch.add("fine-tuning", 100.0)
    after = watch.seconds()
    assert after["fine-tuning"] == before["fine-tuning"] + 100
    assert 100 <= after["total"] - before["total"] < 101
