"""Unlearn five texts from a text classifier of Hugging Face, built from a configuration."""

import random

from transformers import DistilBertConfig, DistilBertForSequenceClassification

import coun

random.seed(0)


def text() -> dict[str, object]:
    """Make one item as a tokenizer of Hugging Face gives it, padded to 16 tokens."""
    label = random.randint(0, 1)
    words = random.sample(range(22, 60), random.randint(4, 9))
    words += random.choices(range(12, 22) if label else range(2, 12), k=3)
    random.shuffle(words)
    ids, padding = [1, *words], [0] * (15 - len(words))
    return {
        "input_ids": ids + padding,
        "attention_mask": [1] * len(ids) + padding,
        "label": label,
    }


data = coun.from_dataset([text() for _ in range(300)], [text() for _ in range(100)])


def network() -> DistilBertForSequenceClassification:
    # A trained one: DistilBertForSequenceClassification.from_pretrained("./my-classifier")
    return DistilBertForSequenceClassification(
        DistilBertConfig(
            vocab_size=data.vocabulary, dim=32, hidden_dim=64, n_layers=2, n_heads=2, num_labels=2
        )
    )


split = coun.Split.by_index(data, range(5))
original = coun.train(data, network, epochs=8, lr=3e-3)
forgot = coun.unlearn(original, split, "coun", epochs=2)

retrain = coun.train(data, network, split=split, epochs=8, lr=3e-3)
metrics = coun.evaluate(forgot, against=retrain)
print(f"average gap to Retrain: {metrics['average_gap']:.2f} points")
