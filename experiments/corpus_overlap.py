"""The overlap of a probe with a prepared corpus, which is searched once and kept beside it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from experiments.corpus import Corpus
from experiments.whole_file import write_whole
from ibtrack import Probe
from ibtrack.probe.overlap import LENGTH, SHARE, Overlap

_VERSION = 1  # of what is searched and how


def corpus_overlap(probe: Probe, corpus: Corpus, num_tokens: int, tokenizer: Any) -> Overlap:
    """Return what stands of a probe's documents in a corpus, from a file beside it or by searching it.

    Args:
        probe: The probe, which keeps what was found.
        corpus: The corpus.
        num_tokens: Number of its first tokens that are trained on.
        tokenizer: Its tokenizer.

    Returns:
        What was found.
    """
    path = corpus.folder / f"overlap-{probe.hash[:16]}-{num_tokens}-{_VERSION}.json"
    if path.exists():
        kept = json.loads(path.read_text())
        probe.overlap = Overlap(**kept | {name: tuple(kept[name]) for name in ("passages", "found")})
        return probe.overlap
    found = probe.find_in(corpus.train.head(num_tokens), tokenizer=tokenizer, length=LENGTH, share=SHARE)
    write_whole(path, json.dumps(asdict(found)))
    return found
