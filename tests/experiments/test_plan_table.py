"""Plans as text: each number where it belongs, and a word where there is none."""

from __future__ import annotations

from dataclasses import replace

from experiments.budget import Budget
from experiments.model import ParameterCount
from experiments.plan import Plan
from experiments.plan_table import Hardware, plan_table, total_sentence
from experiments.step_memory import StepMemory

BUDGET = Budget(batch_size=16, block_size=1024, processes=8, accumulate=4, steps=1000)
MEMORY = StepMemory(
    weights=400_000_000, gradients=400_000_000, optimizer=800_000_000, activations=5_000_000_000, peak=6_000_000_000
)
PLAN = Plan(
    name="big",
    budget=BUDGET,
    warmup_steps=10,
    precision="bf16-mixed",
    strategy="DDP",
    corpus="web: prepared",
    corpus_tokens=262_144_000,
    parameters=ParameterCount(124_000_000, 39_000_000),
    flops_per_token=10**9,
    memory=replace(MEMORY, buckets=400_000_000),
    measurements=20,
    probe_tokens=65_536,
    disk={"corpus": 6_000_000_000, "trajectory": 1_000_000, "checkpoints": None},
    notes=("a thing to know",),
)
H100 = Hardware("H100", 989e12, 0.4)


def rows(text: str) -> dict[str, str]:
    lines = [line.strip() for line in text.splitlines() if line.startswith("  ")]
    return {line.split()[0]: line for line in lines}


def test_every_number_has_its_row() -> None:
    text = plan_table(PLAN, H100)
    found = rows(text)
    assert text.splitlines()[0] == "big"
    assert text.splitlines()[-1] == "- a thing to know"
    assert "124,000,000: 39,000,000 of embeddings and head, 85,000,000 others" in found["parameters"]
    assert found["a"].endswith("524,288 tokens: 16 blocks of 1,024 tokens x 8 processes x 4 batches")
    assert found["the"].endswith("1,000 steps, 524,288,000 tokens; warm-up 10 steps")
    assert found["epochs"].endswith("2 over the corpus")
    assert "5.24e+17 FLOPs" in found["work"]
    assert "2 min 46 s at 40% of the 9.89e+14 FLOP/s of each H100" in found["time"]
    assert found["measurements"].endswith("20 of 65,536 tokens; forward passes of 0.25% of the run's tokens")
    assert found["memory"].endswith("of each device, bf16-mixed, DDP")
    assert "400 MB, gradients again, to be sent" in found["buckets"]
    assert found["peak"].endswith("6 GB")
    assert found["checkpoints"].endswith("not known")
    assert "time" not in rows(plan_table(PLAN)), "nobody has said on what"


def test_what_is_not_known_is_called_so() -> None:
    bare = Plan(
        name="x",
        budget=Budget(batch_size=512, block_size=1),
        warmup_steps=0.01,
        precision="32-true",
        strategy="one process",
        corpus="patterns",
    )
    found = rows(plan_table(bare, H100))
    assert found["a"].endswith("512 examples: one batch")
    assert found["the"].endswith("not known steps, not known examples; warm-up 1.00%")
    for name in ("parameters", "epochs", "work", "measurements"):
        assert found[name].endswith("not known")
    assert "not known, 32-true" in found["memory"]
    assert "not known at 40%" in found["time"]


def test_gathered_weights_are_called_so() -> None:
    assert "gathered from the other devices" in plan_table(replace(PLAN, strategy="FSDP2"))


def test_runs_are_added_up_and_their_corpus_is_there_once() -> None:
    whole = replace(PLAN, disk={"corpus": 6_000_000_000, "trajectory": 1_000_000_000, "checkpoints": 0})
    assert total_sentence([whole, whole]) == "in all: 2 runs, 1,048,576,000 tokens, 1.05e+18 FLOPs, disk 8 GB"
    sentence = total_sentence([whole], H100, times=3)
    assert sentence.startswith("in all: 3 runs, 1,572,864,000 tokens, 1.57e+18 FLOPs, disk 9 GB, time 8 min 17 s at")
    assert "disk not known" in total_sentence([PLAN, whole])
