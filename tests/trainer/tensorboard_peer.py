"""The Python side of tensorboard_test.cpp: TensorBoard's own reader must see the values it wrote."""
import sys

import numpy
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def points(events, tag):
    return [(event.step, event.value) for event in events.Scalars(tag)]


def main(directory):
    events = EventAccumulator(directory, size_guidance={"scalars": 0})
    events.Reload()
    assert set(events.Tags()["scalars"]) == {"train/loss", "load/dead", "late"}, events.Tags()
    kept = [(step, float(numpy.float32(1 / step))) for step in (1, 2, 3)]
    assert points(events, "train/loss") == kept + [(4, 40.5)], points(events, "train/loss")
    assert points(events, "load/dead") == [(1, -1), (2, -2), (3, -3)], points(events, "load/dead")
    assert points(events, "late") == [(1_000_000_007, 0.25)], points(events, "late")
    assert events.Scalars("train/loss")[0].wall_time > 1.7e9


if __name__ == "__main__":
    main(sys.argv[1])
