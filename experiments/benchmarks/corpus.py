"""What preparing a corpus and training on it take: memory, speed beside the tokenizer alone, and a second start.

The corpora are made of text and code of this machine: the standard library, installed packages, headers and
documentation. Where there is too little, texts come again with their paragraphs in another order.

python experiments/benchmarks/corpus.py --gigabytes 2 --gigabytes 4
"""

from __future__ import annotations

import gzip
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any

import typer

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from experiments.benchmarks.figures import Figure, report
from experiments.benchmarks.options import JsonFile, Repetitions

ENDINGS = {".py", ".pyi", ".md", ".rst", ".txt", ".h", ".hpp", ".c", ".js", ".html", ".css", ".gz", ".pl", ".pm"}
ROOTS = [sysconfig.get_path("stdlib"), sysconfig.get_path("purelib"), "/usr/share", "/usr/include", "/usr/lib/python3"]
LETTERS = range(200, 2_000_000)  # of a file that is taken
FILE_BYTES = 100_000_000  # of a file that is written
HELD_OUT = 0.02  # share of the documents
STEPS = 100  # of training
VOCABULARY = 32_000
GIB = 1 << 30
PART_BYTES = 20_000_000  # of text that is tokenized in one round of the comparison

Gigabytes = Annotated[list[float], typer.Option(min=0.001, help="Size of a corpus; may be repeated.")]
Place = Annotated[Path | None, typer.Option(help="Folder for the corpora, which take 3 times their size.")]


def main(
    gigabytes: Gigabytes,
    repetitions: Repetitions = 5,
    vocab_size: int = VOCABULARY,
    folder: Place = None,
    file: JsonFile = None,
) -> None:
    """Make corpora, prepare them and train on them, each in a process of its own, and print the figures."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(dir=folder) as root:
        for size in gigabytes:
            place = Path(root, f"{size:g}")
            rows.append({"gigabytes": size, **write_corpus(place / "text", int(size * 1e9))})
            for name in ("first", "second"):
                measured = in_own_process(place, vocab_size)
                rows.append({"gigabytes": size, "run": name, **measured})
                print(json.dumps(rows[-1]), flush=True)
            last = place
            if size != gigabytes[-1]:
                shutil.rmtree(place)
        ratios = speeds(last, repetitions)
    rows.append({"ratios": ratios})
    print("ratios of speeds, by the clock and in processor time", *(f"{a:.2f} {b:.2f}" for a, b in ratios), sep="; ")
    report("corpus", _figures(rows, ratios), rows, file, packages=["tokenizers", "datasets", "pyarrow"])


def texts_of_this_machine() -> Iterator[str]:
    """Yield texts without end: files of `ROOTS`, then the same with their paragraphs in other orders.

    Raises:
        FileNotFoundError: There are no such files.
    """
    paths = [path for root in ROOTS for path in sorted(Path(root).rglob("*")) if path.suffix in ENDINGS]
    random.Random(0).shuffle(paths)
    for turn in count():
        number = 0
        for path in paths:
            text = _text(path)
            if len(text) in LETTERS:
                number += 1
                paragraphs = text.split("\n\n")
                if turn:
                    random.Random(turn).shuffle(paragraphs)
                    paragraphs.append(str(turn))
                yield "\n\n".join(paragraphs)
        if not number:
            raise FileNotFoundError(f"some of {', '.join(ROOTS)} must hold files of text, found none")


def write_corpus(folder: Path, num_bytes: int) -> dict[str, Any]:
    """Write documents as JSON lines, and return how many there are.

    Args:
        folder: Folder of the files.
        num_bytes: Bytes of text to write.

    Returns:
        The number of documents, of bytes of text, and of files.
    """
    folder.mkdir(parents=True)
    texts, documents, written, number = texts_of_this_machine(), 0, 0, 0
    while written < num_bytes:
        part = 0
        with (folder / f"{number:04}.jsonl").open("w", encoding="utf-8") as file:
            while part < FILE_BYTES and written + part < num_bytes:
                text = next(texts)
                file.write(json.dumps({"text": text}) + "\n")
                part += len(text.encode())
                documents += 1
        written, number = written + part, number + 1
    return {"documents": documents, "text_bytes": written, "files": number}


def in_own_process(place: Path, vocab_size: int) -> dict[str, Any]:
    """Prepare and train in another process, whose memory is counted by itself.

    Args:
        place: Folder of the corpus.
        vocab_size: Number of ids of its tokenizer.
    """
    environment = {**os.environ, "IBTRACK_CACHE": str(place / "cache")}
    command = [sys.executable, __file__, "--own", str(place), str(vocab_size), str(time.time())]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def prepare_and_train(place: Path, vocab_size: int, began: float) -> dict[str, Any]:
    """Prepare a corpus, search it for a probe and train on it for `STEPS` steps, in this process.

    Args:
        place: Folder of the corpus.
        vocab_size: Number of ids of its tokenizer.
        began: When the process was started, in seconds since the epoch.

    Returns:
        Memory in bytes and times in seconds.
    """
    import torch

    from experiments.benchmarks.runs import configuration
    from experiments.data import TextData
    from experiments.documents import local
    from experiments.model import LanguageModel
    from ibtrack import Probe

    settings = configuration(place, "model=llama_0.3M").model.settings
    model = LanguageModel("llama", dict(settings), vocab_size=vocab_size, block_size=128)
    optimizer = torch.optim.AdamW(model.parameters())

    def train_on(batch: torch.Tensor) -> None:
        logits = model.network(input_ids=batch).logits
        torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1), batch[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()

    before, ready, processor = _peak(), time.time(), time.process_time()
    data = TextData(partial(local, f"{place}/text/*.jsonl"), vocab_size=vocab_size, held_out=HELD_OUT)
    data.setup()
    prepared, prepared_peak = time.time(), _peak()
    probe = Probe.from_texts(*data.probe_source, num_blocks=len(data.probe_texts[:64]) // 2, block_size=128)
    data.overlap(probe)
    batches = iter(data.train_dataloader())
    batch = next(batches)
    first, first_processor, searched_peak = time.time(), time.process_time(), _peak()
    for _ in range(3):
        train_on(batch.clone())  # a batch in memory shows what the model takes by itself
    model_peak = _peak()
    for batch in islice(batches, STEPS):
        train_on(batch)
    return {
        "memory_before": before,
        "memory_prepared": prepared_peak - before,
        "memory": max(searched_peak - before, _peak() - model_peak),
        "tokens": len(data.train_blocks) * data.block_size,
        "seconds_to_import": ready - began,
        "seconds_to_prepare": prepared - ready,
        "seconds_to_first_batch": first - began,
        "processor_seconds_to_first_batch": first_processor,
        "processor_seconds_from_setup": first_processor - processor,
        "load": os.getloadavg()[0],
    }


def speeds(place: Path, repetitions: int) -> list[tuple[float, float]]:
    """Compare preparing with the tokenizer alone: by turns, on the same documents.

    Args:
        place: Folder of a corpus that was prepared.
        repetitions: Number of rounds.

    Returns:
        For each round, the time of the tokenizer alone, on documents in memory, over that of reading them from files,
        sorting, tokenizing and writing; by the clock, and in processor time, which a busy machine changes less.
    """
    from experiments.corpus import Recipe, prepared
    from experiments.documents import local
    from experiments.tokenizer import load_tokenizer

    ending = load_tokenizer(next(place.glob("cache/corpora/*/tokenizer.json")))
    part = place / "part.jsonl"
    ratios = []
    with (place / "text" / "0000.jsonl").open(encoding="utf-8") as lines:
        for number in range(repetitions):
            texts = list(_first(lines, PART_BYTES))
            part.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

            def alone(texts: list[str] = texts) -> None:
                for start in range(0, len(texts), 1000):
                    ending.tokenizer.encode_batch_fast(texts[start : start + 1000], add_special_tokens=False)

            def whole(number: int = number) -> None:
                os.environ["IBTRACK_CACHE"] = str(place / f"part{number}")
                prepared(Recipe(partial(local, str(part)), tokenizer=ending, held_out=HELD_OUT))

            times = [_timed(alone), _timed(whole)] if number % 2 else [_timed(whole), _timed(alone)][::-1]
            ratios.append((times[0][0] / times[1][0], times[0][1] / times[1][1]))
    return ratios


def _timed(work: Callable[[], None]) -> tuple[float, float]:
    """Return the seconds that work takes by the clock, and in processor time of all threads."""
    began, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - began, time.process_time() - processor


def _first(lines: Iterator[str], num_bytes: int) -> Iterator[str]:
    size = 0
    for line in lines:
        text = json.loads(line)["text"]
        yield text
        if (size := size + len(line)) >= num_bytes:
            return


def _text(path: Path) -> str:
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return content.decode()
    except (OSError, EOFError, UnicodeDecodeError):  # a broken link, or no text
        return ""


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _figures(rows: list[dict[str, Any]], ratios: list[tuple[float, float]]) -> list[Figure]:
    figures = []
    for row in rows:
        if row.get("run") == "first":
            name = f"memory above imports and model, {row['gigabytes']:g} GB prepared and trained on"
            figures.append(Figure(name, "≤", 1.5, row["memory"] / GIB, " GiB"))
        if row.get("run") == "second":
            name = f"from the start of a second run to its first batch, {row['gigabytes']:g} GB"
            processor = f"{row['processor_seconds_to_first_batch']:.1f} s of processor time"
            figures.append(Figure(name, "≤", 10, row["seconds_to_first_batch"], " s", processor))
    by_clock = [ratio for ratio, _ in ratios]
    by_processor = statistics.median(ratio for _, ratio in ratios)
    spread = f"{min(by_clock):.2f} to {max(by_clock):.2f}; in processor time {by_processor:.2f}"
    speed = statistics.median(by_clock)
    return [*figures, Figure("speed of preparing over that of the tokenizer", "≥", 0.8, speed, "", spread)]


if __name__ == "__main__":
    if sys.argv[1:2] == ["--own"]:
        place, size, began = sys.argv[2:]
        print(json.dumps(prepare_and_train(Path(place), int(size), float(began))))
    else:
        typer.run(main)
