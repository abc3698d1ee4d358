"""Made-up trajectories: the truth is what it should be, and the noise is shared as it should be."""

from __future__ import annotations

import math
from dataclasses import replace
from statistics import fmean

import pytest
import torch

from experiments.benchmarks import trajectories
from experiments.benchmarks.clouds import LOG_K, true_information
from experiments.benchmarks.trajectories import (
    MOST_SCENES,
    NUM_POINTS,
    STEPS,
    Course,
    Scene,
    SceneCloud,
    Strengths,
    falling_course,
    made_up_documents,
    made_up_trajectory,
    narrowing_course,
    partner,
    still_course,
    true_levels,
)
from ibtrack.analysis.deviations import number_of

SCENE = replace(Scene.drawn(3), width=8, num_labels=12, first=Strengths(1.2, 0.8, 0.5), turn=0.2)
ROWS = 256


def test_scenes_differ() -> None:
    scenes = [Scene.drawn(seed) for seed in range(MOST_SCENES)]
    assert len({scene.first for scene in scenes}) == MOST_SCENES
    assert any(scene.turn for scene in scenes)
    assert not all(scene.turn for scene in scenes)
    assert all(scene.document_effect[i] ** 2 + scene.cell_effect**2 < 1 for scene in scenes for i in (0, 1))


def test_a_turn_is_a_rotation_by_that_angle() -> None:
    scene = replace(SCENE, width=64, turn=0.3)
    assert torch.allclose(scene.rotation(0), torch.eye(64))
    turned = scene.rotation(NUM_POINTS - 1)
    assert torch.allclose(turned @ turned.T, torch.eye(64), atol=1e-5)
    vectors = torch.nn.functional.normalize(torch.randn(1000, 64, generator=torch.Generator().manual_seed(0)), dim=1)
    angles = ((vectors @ turned) * vectors).sum(1).clamp(-1, 1).acos()
    assert float(angles.mean()) == pytest.approx(0.3, abs=0.03)


def test_output_labels_have_the_share_that_they_are_drawn_with() -> None:
    """Drawing X, then Y given X, and drawing Y, then X given Y, are draws of one distribution."""
    forward = SceneCloud(SCENE, 0, SCENE.first)
    backward = SceneCloud(SCENE, 0, SCENE.first, of_output=True)
    assert float(backward.share.sum()) == pytest.approx(1)
    first = torch.arange(SCENE.num_labels)
    joint = (1 - SCENE.link) * forward.share[:, None] * forward.share[None, :]
    joint[first, partner(first)] += SCENE.link * forward.share
    assert torch.allclose(joint.sum(0), backward.share)
    linked = backward._chance_of_link(first)
    given_output = linked + (1 - linked) * forward.share[partner(first)]  # chance of the partner, given the output
    assert torch.allclose(given_output, joint[partner(first), first] / joint.sum(0))


def test_without_means_nothing_is_told() -> None:
    levels = true_levels(SCENE, 0, Strengths(0.0, 0.0, 0.0), rows_per_label=ROWS)
    assert abs(levels.complexity) < 0.004
    assert abs(levels.expressivity) < 0.004
    assert levels.ceiling > 0.3


def test_a_still_course_stands_still_although_the_cloud_turns() -> None:
    scene = replace(SCENE, turn=0.8)
    course = still_course(scene, rows_per_label=ROWS)
    turned = [true_levels(scene, index, scene.first, rows_per_label=ROWS) for index in (0, NUM_POINTS - 1)]
    moved = abs(turned[1].complexity - turned[0].complexity)
    assert len(course.levels) == len(course.strengths) == NUM_POINTS
    assert moved > 0.006
    assert course.largest_movement("complexity") < 0.5 * moved


def test_a_scene_that_does_not_turn_needs_no_solving() -> None:
    course = still_course(replace(SCENE, turn=0.0), rows_per_label=16)
    assert set(course.strengths) == {SCENE.first}
    assert course.largest_movement("kept") == 0


def test_a_course_falls_from_its_peak_by_what_it_should() -> None:
    course = falling_course(replace(SCENE, turn=0.0), 0.02, rows_per_label=ROWS)
    assert course.peak is not None
    complexity = [levels.complexity for levels in course.levels]
    assert max(complexity) == complexity[course.peak]
    assert complexity[course.peak] - complexity[-1] == pytest.approx(0.02, abs=0.002)
    assert complexity[course.peak] - complexity[0] == pytest.approx(trajectories.RISE[0], abs=0.003)


def test_a_narrowing_course_keeps_its_shares() -> None:
    course = narrowing_course(replace(SCENE, turn=0.0), rows_per_label=ROWS)
    assert course.largest_movement("kept") < 0.1 * course.largest_movement("complexity")
    assert course.levels[-1].complexity < course.levels[0].complexity - 0.01


def test_documents_have_their_lengths_and_labels() -> None:
    documents = made_up_documents(SCENE, 5, 0)
    lengths = torch.bincount(documents.index)
    shortest, longest = trajectories.LENGTHS
    assert len(lengths) == documents.probe.num_documents == 5
    assert shortest <= int(lengths.min()) < int(lengths.max()) <= longest
    assert documents.probe.num_positions == len(documents.inputs) == len(documents.cells)
    linked = (documents.outputs == partner(documents.inputs)).double().mean()
    assert float(linked) > SCENE.link - 0.1


def test_all_points_share_their_noise_where_they_should() -> None:
    """With all noise shared and nothing moving, every point reads the same; with none shared, each another."""
    scene = replace(SCENE, turn=0.0, document_effect=(0.3, 0.3))
    course = Course(scene=scene, strengths=[scene.first] * NUM_POINTS, levels=[])
    same, fresh = (
        made_up_trajectory(course, num_documents=6, shared=shared, seed=0).values("ib/mean/token/complexity")
        for shared in (1.0, 0.0)
    )
    assert len(same) == NUM_POINTS
    assert max(same) - min(same) < 1e-6
    assert len(set(fresh)) == NUM_POINTS


def test_a_trajectory_says_what_is_true_and_what_moves_its_numbers() -> None:
    course = still_course(replace(SCENE, turn=0.0), rows_per_label=16)
    trajectory = made_up_trajectory(course, num_documents=6, shared=0.5, seed=2)
    assert trajectory.steps == list(STEPS)
    config = trajectory.run["config"]
    assert (config["shared"], config["num_documents"], config["seed_of_documents"], config["peak"]) == (0.5, 6, 2, None)
    assert config["levels"][0] == pytest.approx(list(course.levels[0]))
    number = number_of(trajectory.points[0], "ib/mean/token/kept")
    assert number is not None
    assert len(number.documents) == 6


def test_readings_are_near_the_truth() -> None:
    """Four seeds of 24 documents know I(X;Z) to some .01."""
    scene = replace(SCENE, turn=0.0, cell_effect=0.0, repeats=0.0)
    truth = true_information(SceneCloud(scene, 0, scene.first), rows_per_label=ROWS).value
    course = Course(scene=scene, strengths=[scene.first] * NUM_POINTS, levels=[])
    read = [
        fmean(made_up_trajectory(course, num_documents=24, shared=0.0, seed=seed).values("ib/mean/token/complexity"))
        for seed in range(4)
    ]
    assert math.isfinite(LOG_K)
    assert fmean(read) == pytest.approx(truth, abs=0.012)
