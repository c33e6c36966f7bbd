"""A search index over the source of the standard library: map the files, then merge the
parts as they come."""

import math
import re
import sysconfig
from collections import Counter, defaultdict
from pathlib import Path

from scaler import Client

WORD = re.compile(r"[a-z]{3,}")
QUESTIONS = "priority queue heap", "compress gzip member", "calendar weekday month", "rational numerator denominator"


def index_of(files):
    """{word: {module: how often}} of some files."""
    found = defaultdict(dict)
    for file in files:
        counts = Counter(WORD.findall(file.read_text(errors="replace").lower()))
        total = sum(counts.values())
        for word, count in counts.items():
            found[word][file.stem] = count / total
    return dict(found)


def answer(index, modules, question):
    """The module that this is about, by the usual weight: often here (tf), rarely elsewhere
    (idf)."""
    score = Counter()
    for word in question.split():
        places = index.get(word, {})
        for module, share in places.items():
            score[module] += math.sqrt(share) * math.log(modules / len(places))
    return score.most_common(1)[0][0]


def main():
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(library.glob("*.py"))
    batches = [files[start::16] for start in range(16)]
    index = defaultdict(dict)
    with Client() as client:
        for part in client.imap_unordered(index_of, batches):
            for word, places in part.items():
                index[word].update(places)
    for question in QUESTIONS:
        print(f"{question}: {answer(index, len(files), question)}.py")


if __name__ == "__main__":
    main()
