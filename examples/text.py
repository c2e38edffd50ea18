"""Unlearn five texts, given as token ids, and compare with a Retrain."""

import random

import coun

random.seed(0)
GOOD, BAD, WORDS = range(2, 12), range(12, 22), 60


def text() -> dict[str, object]:
    """Make one item as a tokenizer gives it: 1 starts the text, and words follow."""
    label = random.randint(0, 1)
    words = random.sample(range(22, WORDS), random.randint(4, 9))
    words += random.choices(BAD if label else GOOD, k=3)
    random.shuffle(words)
    return {"input_ids": [1, *words], "attention_mask": [1] * (len(words) + 1), "label": label}


# A `datasets.Dataset` with these columns serves as well, and so does `tokens:FILE.parquet`.
data = coun.from_dataset([text() for _ in range(300)], [text() for _ in range(100)])
print(data.shape, data.vocabulary)
split = coun.Split.by_index(data, range(5))

original = coun.train(data, "text", epochs=10)
# CoUn's second view of a text lacks some of its tokens.
forgot = coun.unlearn(original, split, "coun", epochs=2)

retrain = coun.train(data, "text", split=split, epochs=10)
metrics = coun.evaluate(forgot, against=retrain)
print(f"average gap to Retrain: {metrics['average_gap']:.2f} points")
